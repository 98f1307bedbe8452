//! Where a member is, how long a type is, what an enumerator is worth.

use super::{Btf, Kind, LookupError, Type, wire};

/// Steps through typedefs and qualifiers, or levels of structs: a kernel has about ten.
const DEPTH: u32 = 32;
/// Members looked at for one path, in all types of the name. A kernel's largest struct has some
/// thousand; types made to contain themselves twice would take for ever at any depth.
const BUDGET: u32 = 1 << 20;

/// A member, counted from the start of the struct that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Distance in bits from the start of the struct.
    pub bit_offset: u32,
    /// Width, if it is a bitfield.
    pub bit_size: Option<u32>,
    /// Size in bytes of its type (of a bitfield: of the type it is declared with).
    pub size: u32,
    /// Its type is a pointer.
    pub is_pointer: bool,
}

/// A member as it stands in its own struct.
#[derive(Clone, Copy)]
struct Found {
    bit_offset: u32,
    bit_size: Option<u32>,
    type_id: u32,
}

impl<'a> Btf<'a> {
    /// Finds a member by its dotted path. Each part may lie in unnamed structs and unions, and may
    /// be of a type that is reached through typedefs and qualifiers; no part is behind a pointer.
    ///
    /// # Errors
    ///
    /// No such type or member ([`LookupError::is_absence`]), or BTF that cannot be believed.
    pub fn member(&self, of: &str, path: &str) -> Result<Member, LookupError> {
        let types = self.composites(of)?;
        if types.is_empty() {
            return Err(LookupError::NoType(of.to_owned()));
        }
        let full = || format!("{of}.{path}");
        let mut answer = None;
        let mut budget = BUDGET;
        for ty in types {
            let Some(found) = self
                .walk(ty, path, &mut budget)
                .map_err(|stop| stop.named(full))?
            else {
                continue;
            };
            if answer.is_some_and(|other| other != found) {
                return Err(LookupError::Ambiguous(full()));
            }
            answer = Some(found);
        }
        answer.ok_or_else(|| LookupError::NoMember {
            of: of.to_owned(),
            path: path.to_owned(),
        })
    }

    /// Size in bytes of a type: of the struct, union or enum of that name, else of the typedef,
    /// integer or float.
    ///
    /// # Errors
    ///
    /// As [`Self::member`].
    pub fn size(&self, name: &str) -> Result<u32, LookupError> {
        let mut types = self.composites(name)?;
        if types.is_empty() {
            let sized = |ty: &Type<'_>| {
                matches!(ty.kind, Kind::Enum | Kind::Enum64 | Kind::Int | Kind::Float)
            };
            types.extend(self.named(name).filter(sized));
        }
        if types.is_empty() {
            types.extend(self.named(name).filter(|ty| ty.kind == Kind::Typedef));
        }
        let mut answer = None;
        for ty in types {
            let size = self
                .size_of(ty.id)
                .map_err(|stop| stop.named(|| name.to_owned()))?;
            if answer.is_some_and(|other| other != size) {
                return Err(LookupError::Ambiguous(name.to_owned()));
            }
            answer = Some(size);
        }
        answer.ok_or_else(|| LookupError::NoType(name.to_owned()))
    }

    /// Value of an enumerator, whichever enum it belongs to.
    ///
    /// # Errors
    ///
    /// As [`Self::member`].
    pub fn enumerator(&self, name: &str) -> Result<i128, LookupError> {
        let mut answer = None;
        for ty in self.enums.iter().filter_map(|&id| self.get(id)) {
            let Some(value) = self.enumerator_of(&ty, name) else {
                continue;
            };
            if answer.is_some_and(|other| other != value) {
                return Err(LookupError::Ambiguous(name.to_owned()));
            }
            answer = Some(value);
        }
        answer.ok_or_else(|| LookupError::NoEnumerator(name.to_owned()))
    }

    fn enumerator_of(&self, ty: &Type<'a>, name: &str) -> Option<i128> {
        if ty.kind == Kind::Enum64 {
            let mut all = ty.elements::<3>();
            let [_, low, high] = all.find(|&[text, ..]| self.is_text(text, name))?;
            let value = u64::from(high) << 32 | u64::from(low);
            let signed = i64::from_ne_bytes(value.to_ne_bytes());
            return Some(if ty.flag {
                i128::from(signed)
            } else {
                i128::from(value)
            });
        }
        let [_, value] = ty
            .elements::<2>()
            .find(|&[text, _]| self.is_text(text, name))?;
        let signed = value.cast_signed();
        // Before 6.0 nothing said whether an enum is signed.
        Some(if ty.flag {
            i128::from(signed)
        } else {
            i128::from(value)
        })
    }

    /// The structs and unions of a name. Those with members stand for those without; typedefs of
    /// unnamed ones count only where nothing else has the name.
    fn composites(&self, name: &str) -> Result<Vec<Type<'a>>, LookupError> {
        let is_composite = |ty: &Type<'_>| matches!(ty.kind, Kind::Struct | Kind::Union);
        let mut types: Vec<_> = self.named(name).filter(is_composite).collect();
        if types.is_empty() {
            for ty in self.named(name).filter(|ty| ty.kind == Kind::Typedef) {
                let target = self
                    .strip(ty.id)
                    .map_err(|stop| stop.named(|| name.to_owned()))?;
                types.extend(target.filter(is_composite));
            }
        }
        if types.iter().any(|ty| ty.count > 0) {
            types.retain(|ty| ty.count > 0);
        }
        Ok(types)
    }

    fn walk(&self, start: Type<'a>, path: &str, budget: &mut u32) -> Result<Option<Member>, Stop> {
        let mut base = 0_u32;
        let mut scope = Some(start);
        let mut last = None;
        for name in path.split('.') {
            let Some(within) = scope else { return Ok(None) };
            let Some(found) = self.find(&within, name, DEPTH, budget)? else {
                return Ok(None);
            };
            base = base
                .checked_add(found.bit_offset)
                .ok_or(Stop::Malformed(within.id))?;
            scope = self.strip(found.type_id)?;
            last = Some((found, within.id));
        }
        let Some((found, of)) = last else {
            return Ok(None);
        };
        let target = scope.ok_or(Stop::Malformed(of))?;
        let mut member = Member {
            bit_offset: base,
            bit_size: found.bit_size,
            size: self.size_of(target.id)?,
            is_pointer: target.kind == Kind::Ptr,
        };
        if target.kind == Kind::Int && member.bit_size.is_none() {
            // Without the kind flag a bitfield is an integer of fewer bits than its size.
            let data = wire::u32_at(target.tail, 0).ok_or(Stop::Malformed(target.id))?;
            let (skip, bits) = (data >> 16 & 0xff, data & 0xff);
            if skip != 0 || Some(bits) != member.size.checked_mul(8) {
                member.bit_size = Some(bits);
                member.bit_offset = base.checked_add(skip).ok_or(Stop::Malformed(target.id))?;
            }
        }
        Ok(Some(member))
    }

    /// A member of that name, here or in an unnamed member.
    fn find(
        &self,
        within: &Type<'a>,
        name: &str,
        depth: u32,
        budget: &mut u32,
    ) -> Result<Option<Found>, Stop> {
        if !matches!(within.kind, Kind::Struct | Kind::Union) {
            return Ok(None);
        }
        let depth = depth.checked_sub(1).ok_or(Stop::Endless)?;
        *budget = budget.checked_sub(within.count).ok_or(Stop::Endless)?;
        for [text, type_id, offset] in within.elements() {
            let (bit_offset, bit_size) = match (within.flag, offset >> 24) {
                (false, _) => (offset, None),
                (true, 0) => (offset, None),
                (true, bits) => (offset & 0x00ff_ffff, Some(bits)),
            };
            if self.is_text(text, name) {
                return Ok(Some(Found {
                    bit_offset,
                    bit_size,
                    type_id,
                }));
            }
            if !self.is_text(text, "") {
                continue;
            }
            let Some(inner) = self.strip(type_id)? else {
                continue;
            };
            if let Some(found) = self.find(&inner, name, depth, budget)? {
                let sum = bit_offset.checked_add(found.bit_offset);
                let bit_offset = sum.ok_or(Stop::Malformed(within.id))?;
                return Ok(Some(Found {
                    bit_offset,
                    ..found
                }));
            }
        }
        Ok(None)
    }

    /// The type behind typedefs and qualifiers; `None` is `void`.
    pub(super) fn strip(&self, id: u32) -> Result<Option<Type<'a>>, Stop> {
        let mut id = id;
        for _ in 0..DEPTH {
            if id == 0 {
                return Ok(None);
            }
            let ty = self.get(id).ok_or(Stop::Malformed(id))?;
            if !ty.kind.is_modifier() {
                return Ok(Some(ty));
            }
            id = ty.size_or_type;
        }
        Err(Stop::Endless)
    }

    pub(super) fn size_of(&self, id: u32) -> Result<u32, Stop> {
        let mut id = id;
        let mut times = 1_u32;
        for _ in 0..DEPTH {
            let ty = self.strip(id)?.ok_or(Stop::Malformed(id))?;
            let size = match ty.kind {
                Kind::Int
                | Kind::Float
                | Kind::Struct
                | Kind::Union
                | Kind::Enum
                | Kind::Enum64 => ty.size_or_type,
                Kind::Ptr => POINTER,
                Kind::Array => {
                    let [element, _, count] = ty.elements().next().ok_or(Stop::Malformed(ty.id))?;
                    times = times.checked_mul(count).ok_or(Stop::Malformed(ty.id))?;
                    id = element;
                    continue;
                }
                Kind::Fwd
                | Kind::Func
                | Kind::FuncProto
                | Kind::Var
                | Kind::Datasec
                | Kind::DeclTag
                | Kind::Typedef
                | Kind::Volatile
                | Kind::Const
                | Kind::Restrict
                | Kind::TypeTag
                | Kind::Unknown(_) => return Err(Stop::Malformed(ty.id)),
            };
            return times.checked_mul(size).ok_or(Stop::Malformed(ty.id));
        }
        Err(Stop::Endless)
    }
}

/// The kernels this program runs on have 64 bits (x86-64, aarch64).
pub(super) const POINTER: u32 = 8;

/// A failed step, before it is known what was asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stop {
    Endless,
    Malformed(u32),
}

impl Stop {
    pub(super) fn named(self, name: impl FnOnce() -> String) -> LookupError {
        match self {
            Self::Endless => LookupError::Endless(name()),
            Self::Malformed(id) => LookupError::Malformed(id),
        }
    }
}
