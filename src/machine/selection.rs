//! Which link a new session gets: round robin over the links that are up, in configured order.

/// A gateway speaks to at most this many call-manager nodes.
pub const LINKS_MAX: usize = 8;

/// More or fewer CTI addresses than the gateway can hold links to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{count} CTI addresses are configured; 1 to {LINKS_MAX} are possible")]
pub struct LinkCountRefused {
    pub count: usize,
}

/// The cursor over the configured links. Links are named by their place in the configuration, 0 first; the place is
/// the priority, because an untouched cursor begins there and after a wrap every round begins there again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    count: usize,
    cursor: usize,
}

impl Selection {
    pub fn new(count: usize) -> Result<Self, LinkCountRefused> {
        if count == 0 || count > LINKS_MAX { Err(LinkCountRefused { count }) } else { Ok(Self { count, cursor: 0 }) }
    }

    /// Goes on where an earlier run stopped. A cursor beyond the links (the configuration shrank) begins anew.
    pub fn resumed(count: usize, cursor: usize) -> Result<Self, LinkCountRefused> {
        let fresh = Self::new(count)?;
        Ok(if cursor < count { Self { cursor, ..fresh } } else { fresh })
    }

    /// Where the next pick begins to look.
    pub fn cursor(&self) -> usize {
        self.cursor
    }

    /// The next link that is up, from the cursor on; the cursor then stands behind it. `None`, and an unmoved cursor,
    /// when no link is up. Links missing from `up` are down.
    pub fn pick(&mut self, up: &[bool]) -> Option<usize> {
        let chosen = self.next_up(up, None)?;
        self.cursor = (chosen + 1) % self.count;
        Some(chosen)
    }

    /// A session stays on its link, up or not, as long as that link is configured; only a new one is given the next.
    pub fn stay_or_pick(&mut self, current: Option<usize>, up: &[bool]) -> Option<usize> {
        match current {
            Some(link) if link < self.count => Some(link),
            _ => self.pick(up),
        }
    }

    /// Another link for a session whose own did not come back in its time; never `current`.
    pub fn move_from(&mut self, current: usize, up: &[bool]) -> Option<usize> {
        let chosen = self.next_up(up, Some(current))?;
        self.cursor = (chosen + 1) % self.count;
        Some(chosen)
    }

    fn next_up(&self, up: &[bool], except: Option<usize>) -> Option<usize> {
        (0..self.count)
            .map(|step| (self.cursor + step) % self.count)
            .find(|link| Some(*link) != except && up.get(*link).copied().unwrap_or(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_to_eight_links_and_no_ninth() {
        assert_eq!(Selection::new(0), Err(LinkCountRefused { count: 0 }));
        assert!((1..=8).all(|count| Selection::new(count).is_ok()));
        assert_eq!(Selection::new(9), Err(LinkCountRefused { count: 9 }));
    }

    #[test]
    fn every_link_gets_its_turn_in_configured_order() {
        let mut selection = Selection::new(3).unwrap();
        let picked: Vec<_> = (0..7).map(|_| selection.pick(&[true; 3]).unwrap()).collect();
        assert_eq!(picked, [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn a_link_that_is_down_is_passed_over_and_comes_back_in_its_place() {
        let mut selection = Selection::new(3).unwrap();
        let down = [true, false, true];
        assert_eq!((0..4).map(|_| selection.pick(&down).unwrap()).collect::<Vec<_>>(), [0, 2, 0, 2]);
        assert_eq!((0..3).map(|_| selection.pick(&[true; 3]).unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn nothing_is_picked_when_no_link_is_up_and_the_cursor_stays() {
        let mut selection = Selection::new(4).unwrap();
        selection.pick(&[true; 4]);
        let before = selection;
        assert_eq!(selection.pick(&[false; 4]), None);
        assert_eq!(selection.pick(&[]), None);
        assert_eq!(selection, before);
    }

    #[test]
    fn a_session_stays_on_its_link_even_when_it_is_down() {
        let mut selection = Selection::new(2).unwrap();
        assert_eq!(selection.stay_or_pick(Some(1), &[true, false]), Some(1));
        assert_eq!(selection.stay_or_pick(None, &[false, true]), Some(1));
        assert_eq!(
            selection.stay_or_pick(Some(5), &[true, true]),
            Some(0),
            "its link was taken out of the configuration"
        );
    }

    #[test]
    fn a_session_that_moves_never_gets_the_link_it_left() {
        let mut selection = Selection::new(2).unwrap();
        assert_eq!(selection.move_from(0, &[true, true]), Some(1));
        assert_eq!(selection.move_from(0, &[true, false]), None);
    }

    #[test]
    fn the_cursor_survives_a_restart() {
        let mut selection = Selection::new(3).unwrap();
        selection.pick(&[true; 3]);
        let mut after = Selection::resumed(3, selection.cursor()).unwrap();
        assert_eq!(after.pick(&[true; 3]), Some(1));
        assert_eq!(Selection::resumed(2, 7).unwrap().cursor(), 0);
    }
}
