//! Finds the word that was most likely meant by a misspelt one.

/// The known word that is most like `word`; `None` if none is like it.
pub fn closest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let most_typos = (word.len() / 3).max(1);
    let distances = known.iter().map(|known| (strsim::osa_distance(word, known), *known));
    distances.filter(|(typos, _)| *typos <= most_typos).min().map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::closest;

    #[test]
    fn only_words_that_are_alike_are_proposed() {
        let known = ["id", "reason", "allow"];
        assert_eq!(closest("reson", &known), Some("reason"));
        assert_eq!(closest("di", &known), Some("id"));
        assert_eq!(closest("Allow", &known), Some("allow"));
        assert_eq!(closest("owner", &known), None);
    }
}
