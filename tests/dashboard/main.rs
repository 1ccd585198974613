//! The operator's page in a real browser: what it shows of a node that tells anything, and of a real pair that is hit.

mod asked;
mod browser;
#[allow(dead_code)]
#[path = "../takeover/lines.rs"]
mod lines;
mod looks;
#[allow(dead_code)]
#[path = "../takeover/pair.rs"]
mod pair;
mod real;
mod told;

use browser::Browser;

/// One browser for all of a kind: starting it takes longer than the test.
#[test]
fn the_page_shows_what_it_is_told() {
    if !browser::is_here() {
        return;
    }
    pair::run(async {
        let browser = Browser::start().await;
        looks::whatever_is_told_stays_text(&browser).await;
        looks::every_word_can_be_read_in_either_light(&browser).await;
        looks::a_phone_shows_all_without_going_sideways(&browser).await;
        looks::a_witness_shows_the_pair_and_nothing_it_does_not_know(&browser).await;
        asked::the_token_is_asked_for_and_kept_in_the_tab(&browser).await;
        asked::a_lost_node_is_told_and_found_again(&browser).await;
        asked::a_node_that_says_nothing_is_told_too(&browser).await;
    });
}

#[test]
fn the_page_follows_a_real_pair() {
    if browser::is_here() {
        pair::run(real::the_page_follows_a_pair_that_is_hit());
    }
}

#[test]
fn a_node_is_drained_with_the_keyboard_alone() {
    if browser::is_here() {
        pair::run(real::a_node_is_drained_with_the_keyboard_alone());
    }
}
