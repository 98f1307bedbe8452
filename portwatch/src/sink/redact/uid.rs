//! User ids, as numbers and as they hide in names: systemd puts them into `user-1000.slice`,
//! `user@1000.service` and /run/user/1000.

use super::numbers::{Numbers, RedactKey};
use std::sync::{Arc, Mutex, PoisonError};

/// Users begin here: no real one is as high on a usual machine. There are `USERS` of them.
const FIRST_USER: u32 = 4_000_000_000;
const USERS: u64 = 290_000_000;

/// What stands for a user in a text.
#[derive(Clone, Debug)]
pub(crate) enum Users {
    /// `UID`.
    Word,
    /// A pseudonym.
    Named(UserNames),
}

/// Pseudonyms of users. Clones give the same ones.
#[derive(Clone, Debug)]
pub(crate) struct UserNames(Arc<Mutex<Numbers<u32>>>);

impl UserNames {
    pub(crate) fn new(key: Option<RedactKey>) -> Self {
        Self(Arc::new(Mutex::new(Numbers::new(key))))
    }

    /// root stays root: that it is asks for nothing.
    pub(crate) fn of(&self, uid: u32) -> u32 {
        if uid == 0 {
            return 0;
        }
        let mut users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that come after too many share the last one.
        let number = match users.of(uid, &uid.to_le_bytes(), USERS) {
            0 => USERS,
            number => number - 1,
        };
        FIRST_USER.saturating_add(u32::try_from(number).unwrap_or(0))
    }
}

/// What stands before a user's number.
const BEFORE: [&str; 5] = [
    "user-",
    "user@",
    "user-runtime-dir@",
    "run-user-",
    "run/user/",
];

impl Users {
    /// Replaces the number in every such part of a path, of a unit's name or of a text around them.
    pub(crate) fn replace(&self, text: &mut String) {
        if !text.contains("user") {
            return;
        }
        for before in BEFORE {
            let mut from = 0;
            while let Some(at) = text.get(from..).and_then(|rest| rest.find(before)) {
                let start = from + at + before.len();
                let (head, tail) = text.split_at(start);
                let digits = tail.bytes().take_while(u8::is_ascii_digit).count();
                let (number, after) = tail.split_at(digits);
                from = start;
                if is_user(head, before, number, after) {
                    let stand_in = self.of(number);
                    text.replace_range(start..start + digits, &stand_in);
                    from += stand_in.len();
                }
            }
        }
    }

    fn of(&self, number: &str) -> String {
        match (self, number.parse()) {
            (Self::Named(names), Ok(uid)) => names.of(uid).to_string(),
            (Self::Word | Self::Named(_), _) => "UID".to_owned(),
        }
    }
}

fn is_user(head: &str, before: &str, number: &str, after: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || "_-.@\\".contains(c);
    let whole = || {
        head.strip_suffix(before)
            .is_some_and(|head| !head.ends_with(is_name))
    };
    !number.is_empty()
        && match before {
            "run/user/" => !after.starts_with(char::is_alphanumeric),
            "run-user-" => whole() && after.starts_with(['.', '-']),
            _ => whole() && after.starts_with('.'),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(users: &Users, text: &str) -> String {
        let mut text = text.to_owned();
        users.replace(&mut text);
        text
    }

    #[test]
    fn wherever_they_stand() {
        for (text, expected) in [
            ("/user.slice/user-7.slice/a", "/user.slice/user-UID.slice/a"),
            ("in user@7.service, as", "in user@UID.service, as"),
            ("/a,/user-7.slice", "/a,/user-UID.slice"),
            ("/run/user/7/netns/x", "/run/user/UID/netns/x"),
            ("--dir=/var/run/user/77", "--dir=/var/run/user/UID"),
            ("run-user-7-doc.mount", "run-user-UID-doc.mount"),
            ("user-runtime-dir@7.service", "user-runtime-dir@UID.service"),
            ("/user-99999999999.slice", "/user-UID.slice"),
        ] {
            assert_eq!(replaced(&Users::Word, text), expected);
        }
    }

    #[test]
    fn names_that_only_look_like_users_stay() {
        for name in [
            "/a/user-x.slice",
            "/my-user-1000.slice",
            "user-1000",
            "/superuser@1.service",
            "/run/user/1a",
        ] {
            assert_eq!(replaced(&Users::Word, name), name);
        }
    }

    #[test]
    fn a_text_names_who_a_number_names() {
        let names = UserNames::new(None);
        let users = Users::Named(names.clone());
        let uid = names.of(4242);
        assert_eq!(
            replaced(&users, "/user-4242.slice/user@4242.service"),
            format!("/user-{uid}.slice/user@{uid}.service")
        );
        assert_eq!(replaced(&users, "/user-0.slice"), "/user-0.slice");
        assert_eq!(
            replaced(&users, "/user-99999999999.slice"),
            "/user-UID.slice"
        );
    }
}
