//! Hand-made BTF for tests.

/// `BTF_KIND_*` as numbers, so that the tests do not take them from the code under test.
pub(super) const INT: u32 = 1;
pub(super) const PTR: u32 = 2;
pub(super) const ARRAY: u32 = 3;
pub(super) const STRUCT: u32 = 4;
pub(super) const UNION: u32 = 5;
pub(super) const ENUM: u32 = 6;
pub(super) const FWD: u32 = 7;
pub(super) const TYPEDEF: u32 = 8;
pub(super) const VOLATILE: u32 = 9;
pub(super) const CONST: u32 = 10;
pub(super) const FUNC: u32 = 12;
pub(super) const FUNC_PROTO: u32 = 13;
pub(super) const VAR: u32 = 14;
pub(super) const DATASEC: u32 = 15;
pub(super) const FLOAT: u32 = 16;
pub(super) const DECL_TAG: u32 = 17;
pub(super) const TYPE_TAG: u32 = 18;
pub(super) const ENUM64: u32 = 19;
pub(super) const FLAG: u32 = 1 << 31;

/// BTF under construction.
#[derive(Clone)]
pub(super) struct Sample {
    types: Vec<u32>,
    strings: Vec<u8>,
    layout: Option<Vec<[u8; 4]>>,
    last: u32,
}

impl Sample {
    pub(super) fn new() -> Self {
        Self {
            types: Vec::new(),
            strings: vec![0],
            layout: None,
            last: 0,
        }
    }

    /// A layout section, as from 7.1: fixed part and element of each kind from 0.
    pub(super) fn layout(&mut self, lengths: &[(u8, u8)]) {
        self.layout = Some(
            lengths
                .iter()
                .map(|&(fixed, each)| [fixed, each, 0, 0])
                .collect(),
        );
    }

    pub(super) fn text(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let at = u32::try_from(self.strings.len()).expect("small");
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        at
    }

    /// A type; `kind` may carry [`FLAG`]. Gives its id.
    pub(super) fn push(
        &mut self,
        kind: u32,
        name: &str,
        count: usize,
        size_or_type: u32,
        tail: &[u32],
    ) -> u32 {
        let name = self.text(name);
        let count = u32::try_from(count).expect("small");
        let info = (kind & !FLAG) << 24 | kind & FLAG | count;
        self.types.extend([name, info, size_or_type]);
        self.types.extend(tail);
        self.last += 1;
        self.last
    }

    pub(super) fn int(&mut self, name: &str, size: u32) -> u32 {
        self.push(INT, name, 0, size, &[size * 8])
    }

    /// A struct or union of (name, type, raw offset).
    pub(super) fn composite(
        &mut self,
        kind: u32,
        name: &str,
        size: u32,
        members: &[(&str, u32, u32)],
    ) -> u32 {
        let tail: Vec<u32> = members
            .iter()
            .flat_map(|&(name, ty, offset)| [self.text(name), ty, offset])
            .collect();
        self.push(kind, name, members.len(), size, &tail)
    }

    pub(super) fn function(&mut self, name: &str, result: u32, params: &[(&str, u32)]) -> u32 {
        let tail: Vec<u32> = params
            .iter()
            .flat_map(|&(name, ty)| [self.text(name), ty])
            .collect();
        let prototype = self.push(FUNC_PROTO, "", params.len(), result, &tail);
        self.push(FUNC, name, 1, prototype, &[])
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let length = |bytes: usize| u32::try_from(bytes).expect("small");
        let types: Vec<u8> = self
            .types
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .collect();
        let layout = self.layout.as_deref().map(<[[u8; 4]]>::as_flattened);
        let header = if layout.is_some() { 32 } else { 24 };
        let mut data = Vec::new();
        data.extend(0xeb9f_u16.to_ne_bytes());
        data.extend([1, 0]);
        let after = length(types.len() + self.strings.len());
        let mut words = vec![
            header,
            0,
            length(types.len()),
            length(types.len()),
            length(self.strings.len()),
        ];
        if let Some(layout) = layout {
            words.extend([after, length(layout.len())]);
        }
        data.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        data.extend(types);
        data.extend(&self.strings);
        data.extend(layout.unwrap_or_default());
        data
    }
}
