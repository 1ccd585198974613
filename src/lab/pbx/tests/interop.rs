//! The gateway's own drivers against this PBX: two codecs that were not written for each other.

use super::*;
use crate::cti::{Driver, In, LinkConfig, csta_tcp::CstaTcp, dmcc::Dmcc};
use crate::id::Moment;
use crate::machine::link::{Heard, Say, SystemStatus, Ticket};

const NOW: Moment = Moment(0);

struct Line {
    driver: Box<dyn Driver>,
    stream: TcpStream,
    heard: std::collections::VecDeque<Heard>,
}

impl Line {
    async fn connect(mut driver: Box<dyn Driver>, address: SocketAddr) -> Self {
        driver.connected();
        Self { driver, stream: TcpStream::connect(address).await.unwrap(), heard: Default::default() }
    }

    async fn reconnect(self, address: SocketAddr) -> Self {
        let Self { driver, stream, .. } = self;
        drop(stream);
        Self::connect(driver, address).await
    }

    async fn say(&mut self, say: Say) {
        let bytes = self.driver.say(say, NOW).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
    }

    async fn send(&mut self, ticket: u64, service: Service) {
        let bytes = self.driver.send(Ticket(ticket), &service, NOW).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
    }

    async fn next(&mut self) -> Heard {
        let mut bytes = [0; 4096];
        loop {
            match self.heard.pop_front() {
                Some(Heard::Noise) => continue,
                Some(heard) => return heard,
                None => {}
            }
            let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut bytes)).await.expect("something comes");
            let count = read.unwrap();
            assert!(count > 0, "the connection stands");
            for said in self.driver.received(&bytes[..count], NOW).unwrap() {
                match said {
                    In::Heard(heard) => self.heard.push_back(heard),
                    In::Write(bytes) => self.stream.write_all(&bytes).await.unwrap(),
                    In::EventUnreadable { xref } => panic!("an event of {xref:?} cannot be read"),
                }
            }
        }
    }

    async fn answer(&mut self) -> Outcome {
        match self.next().await {
            Heard::Answer { outcome, .. } => outcome,
            other => panic!("{other:?}"),
        }
    }

    async fn monitor(&mut self, device: &str) -> String {
        self.send(1, Service::MonitorStart { object: MonitorObject::Device(device.into()), line: None }).await;
        match self.answer().await {
            Outcome::MonitorStart { xref, .. } => xref,
            other => panic!("{other:?}"),
        }
    }

    async fn events(&mut self, count: usize) -> Vec<String> {
        let mut events = Vec::new();
        for _ in 0..count {
            match self.next().await {
                Heard::Event(event) => events.push(format!("{} {}", event.xref, short(&event.body))),
                other => panic!("{other:?}"),
            }
        }
        events
    }
}

async fn talk(line: &mut Line) {
    line.say(Say::Login).await;
    assert_eq!(line.next().await, Heard::Granted { duration_ms: 180_000, resumed: false });
    line.say(Say::AskStatus).await;
    assert_eq!(line.next().await, Heard::Status(SystemStatus::Usable));
    line.say(Say::ResetTimer).await;
    assert_eq!(line.next().await, Heard::TimerReset { duration_ms: 180_000 });
    assert_eq!([line.monitor("5101").await, line.monitor("5102").await], ["0", "1"]);
    line.send(2, make_call("5101", "5102")).await;
    let Outcome::MakeCall { calling } = line.answer().await else { panic!() };
    assert_eq!(calling, crate::csta::ConnectionId::new("1001", "5101"));
    assert_eq!(
        line.events(4).await,
        [
            "0 ServiceInitiated 1001/5101 Initiated makeCall",
            "0 Originated 1001/5101 Connected newCall",
            "0 Delivered 1001/5102 Connected newCall",
            "1 Delivered 1001/5102 Alerting newCall",
        ]
    );
    line.send(3, make_call("5103", "+14255550202")).await;
    assert!(matches!(line.answer().await, Outcome::MakeCall { .. }));
}

#[tokio::test]
async fn the_standard_driver_logs_in_monitors_and_calls() {
    let pbx = PbxLab::start(PbxOptions::default()).await.unwrap();
    let driver = Box::new(CstaTcp::new(&LinkConfig::default()));
    let mut line = Line::connect(driver, pbx.addresses()[0]).await;
    talk(&mut line).await;
    pbx.control(Request::Terminate { link: "pbx1".into() }).await;
    assert_eq!(line.next().await, Heard::Terminated);
}

#[tokio::test]
async fn the_dmcc_driver_resumes_and_after_a_restart_begins_anew() {
    let pbx = PbxLab::start(PbxOptions::default()).await.unwrap();
    let driver = Box::new(Dmcc::new(&LinkConfig { switch_name: "CM1".into(), ..LinkConfig::default() }));
    let mut line = Line::connect(driver, pbx.addresses()[0]).await;
    talk(&mut line).await;

    let mut line = line.reconnect(pbx.addresses()[0]).await;
    line.say(Say::Login).await;
    assert_eq!(line.next().await, Heard::Granted { duration_ms: 180_000, resumed: true });
    pbx.control(Request::Answer { device: Some("5102".into()), call: None }).await;
    assert_eq!(
        line.events(2).await,
        ["0 Established 1001/5102 Connected newCall", "1 Established 1001/5102 Connected newCall"]
    );

    pbx.control(Request::Restart { link: None, forget_calls: false }).await;
    let mut line = line.reconnect(pbx.addresses()[0]).await;
    line.say(Say::Login).await;
    assert_eq!(line.next().await, Heard::Granted { duration_ms: 180_000, resumed: false });
    assert_eq!(line.monitor("5101").await, "2");
}
