//! Prototypes of kernel functions, to compare a hook's with the kernel's.

use super::lookup::{POINTER, Stop};
use super::{Btf, Kind, LookupError, Type, wire};
use std::fmt;

/// A type as far as a hook cares: how an argument is passed and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape<'a> {
    /// Nothing: of a function that returns none.
    Void,
    /// An integer, `bool` and `char` among them.
    Int {
        /// Size in bytes.
        size: u32,
        /// It has a sign.
        signed: bool,
    },
    /// An enum.
    Enum {
        /// Size in bytes.
        size: u32,
    },
    /// A floating-point number.
    Float {
        /// Size in bytes.
        size: u32,
    },
    /// A pointer, with the name of the struct, union, enum or integer it points to; `""` for
    /// `void` and everything else without a name.
    Pointer(&'a str),
    /// A struct or union by value.
    Composite {
        /// Its name.
        name: &'a str,
        /// Size in bytes.
        size: u32,
    },
}

/// One parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param<'a> {
    /// Its name, `""` where there is none.
    pub name: &'a str,
    /// Its type.
    pub shape: Shape<'a>,
}

/// What a function takes and gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prototype<'a> {
    /// Parameters in order, without the `...` of a variadic one.
    pub params: Vec<Param<'a>>,
    /// What it returns.
    pub result: Shape<'a>,
    /// It takes any number of further arguments.
    pub variadic: bool,
}

impl fmt::Display for Shape<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Void => f.write_str("()"),
            Self::Int { size, signed } => {
                write!(f, "{}{}", if *signed { 'i' } else { 'u' }, size * 8)
            }
            Self::Enum { size } => write!(f, "enum of {size}"),
            Self::Float { size } => write!(f, "f{}", size * 8),
            Self::Pointer(to) => write!(f, "*{to}"),
            Self::Composite { name, .. } => f.write_str(name),
        }
    }
}

impl fmt::Display for Prototype<'_> {
    /// The types alone: `(*sock, u16) -> i32`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        for (number, param) in self.params.iter().enumerate() {
            let comma = if number > 0 { ", " } else { "" };
            write!(f, "{comma}{}", param.shape)?;
        }
        let more = if self.variadic { ", ..." } else { "" };
        write!(f, "{more}) -> {}", self.result)
    }
}

/// No function of C or of the kernel comes near.
const MOST_PARAMS: u32 = 255;

impl<'a> Btf<'a> {
    /// Prototype of a function. That it is here does not mean that it can be attached to.
    ///
    /// # Errors
    ///
    /// No such function, several of that name with different prototypes, or malformed BTF.
    pub fn function(&self, name: &str) -> Result<Prototype<'a>, LookupError> {
        let mut answer = None;
        for function in self.named(name).filter(|ty| ty.kind == Kind::Func) {
            let prototype = self
                .prototype(&function)
                .map_err(|s| s.named(|| name.to_owned()))?;
            if answer.as_ref().is_some_and(|other| *other != prototype) {
                return Err(LookupError::Ambiguous(name.to_owned()));
            }
            answer = Some(prototype);
        }
        answer.ok_or_else(|| LookupError::NoFunction(name.to_owned()))
    }

    fn prototype(&self, function: &Type<'a>) -> Result<Prototype<'a>, Stop> {
        let malformed = Stop::Malformed(function.id);
        let prototype = self.get(function.size_or_type).ok_or(malformed)?;
        if prototype.kind != Kind::FuncProto || prototype.count > MOST_PARAMS {
            return Err(malformed);
        }
        let mut params = Vec::new();
        let mut variadic = false;
        for [name, type_id] in prototype.elements() {
            if variadic {
                return Err(Stop::Malformed(prototype.id));
            }
            if (name, type_id) == (0, 0) {
                variadic = true;
                continue;
            }
            let name = self.text(name).ok_or(Stop::Malformed(prototype.id))?;
            params.push(Param {
                name,
                shape: self.shape(type_id)?,
            });
        }
        Ok(Prototype {
            params,
            result: self.shape(prototype.size_or_type)?,
            variadic,
        })
    }

    fn shape(&self, id: u32) -> Result<Shape<'a>, Stop> {
        let Some(ty) = self.strip(id)? else {
            return Ok(Shape::Void);
        };
        let malformed = Stop::Malformed(ty.id);
        let size = ty.size_or_type;
        Ok(match ty.kind {
            Kind::Int => {
                let encoding = wire::u32_at(ty.tail, 0).ok_or(malformed)?;
                Shape::Int {
                    size,
                    signed: encoding >> 24 & 1 != 0,
                }
            }
            Kind::Enum | Kind::Enum64 => Shape::Enum { size },
            Kind::Float => Shape::Float { size },
            Kind::Struct | Kind::Union => Shape::Composite {
                name: self.text(ty.name).ok_or(malformed)?,
                size,
            },
            Kind::Ptr => match self.strip(ty.size_or_type)? {
                Some(target) => Shape::Pointer(self.text(target.name).ok_or(malformed)?),
                None => Shape::Pointer(""),
            },
            Kind::Array
            | Kind::Fwd
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
            | Kind::Unknown(_) => return Err(malformed),
        })
    }
}

impl Shape<'_> {
    /// Bytes it takes; 0 for `void`.
    #[must_use]
    pub fn size(&self) -> u32 {
        match *self {
            Self::Void => 0,
            Self::Int { size, .. }
            | Self::Enum { size }
            | Self::Float { size }
            | Self::Composite { size, .. } => size,
            Self::Pointer(_) => POINTER,
        }
    }
}
