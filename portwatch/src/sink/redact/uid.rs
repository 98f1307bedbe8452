//! User ids that hide in names: systemd puts them into `user-1000.slice` and `user@1000.service`.

/// Replaces the number in every such part of a cgroup path or a unit's name.
pub(super) fn hide(text: &mut String) {
    for prefix in ["user-", "user@", "user-runtime-dir@"] {
        let mut from = 0;
        while let Some(at) = text[from..].find(prefix) {
            let start = from + at + prefix.len();
            let digits = text[start..].bytes().take_while(u8::is_ascii_digit).count();
            let whole = text[..from + at].is_empty() || text[..from + at].ends_with('/');
            if whole && digits > 0 && text[start + digits..].starts_with('.') {
                text.replace_range(start..start + digits, "UID");
            }
            from = start;
        }
    }
}
