//! A voter's answers to the other voters, as the product's acceptor gives them.

use lyncpin_cluster::replica::Replica;
use openraft::raft::AppendEntriesResponse;
use tokio::sync::mpsc;

use super::net::{Answer, Arrived, Question};

/// Hears a node's own words from the other nodes.
pub trait Ear {
    fn heard(&self, from: u64, word: Vec<u8>) -> futures_util::future::LocalBoxFuture<'static, Vec<u8>>;
}

/// Answers until the node is dropped; each question is worked on by itself.
pub async fn serve(replica: Replica, mut arriving: mpsc::UnboundedReceiver<Arrived>, ear: std::rc::Rc<dyn Ear>) {
    while let Some(arrived) = arriving.recv().await {
        let (replica, ear) = (replica.clone(), ear.clone());
        tokio::task::spawn_local(async move {
            let Arrived { from, question, reply } = arrived;
            if let Some(answer) = answer(&replica, &*ear, from, question).await {
                reply.send(answer);
            }
        });
    }
}

/// `None`: the voter has stopped.
async fn answer(replica: &Replica, ear: &dyn Ear, from: u64, question: Question) -> Option<Answer> {
    let raft = replica.raft();
    match question {
        Question::Append(request) => {
            let response = raft.append_entries(request).await.ok()?;
            if !matches!(response, AppendEntriesResponse::HigherVote(_)) {
                replica.heard_leader();
            }
            Some(Answer::Append(response))
        }
        Question::Vote(request) => raft.vote(request).await.ok().map(Answer::Vote),
        Question::PreVote(request) => raft.pre_vote(request).await.ok().map(Answer::Vote),
        Question::Snapshot(vote, snapshot) => {
            raft.install_full_snapshot(vote, snapshot).await.ok().map(Answer::Snapshot)
        }
        Question::TransferLeader(request) => {
            raft.handle_transfer_leader(request).await.ok().map(Answer::TransferLeader)
        }
        Question::Propose(command) => Some(Answer::Propose(replica.propose_here(command).await)),
        Question::ReadIndex => Some(Answer::ReadIndex(replica.read_index_here().await)),
        Question::Word(word) => Some(Answer::Word(ear.heard(from, word).await)),
    }
}
