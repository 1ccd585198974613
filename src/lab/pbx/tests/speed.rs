//! How fast the PBX is; printed, never asserted. `cargo test --release lab::pbx::tests::speed -- --ignored --nocapture`

use std::time::Instant;

use super::*;
use crate::csta::ConnectionId;

const PAIRS: u64 = 500;
const ROUNDS: u64 = 40;

/// MakeCall, AnswerCall, ClearConnection for each pair of devices, all monitored; the client shares the one thread.
#[tokio::test]
#[ignore = "a measurement"]
async fn services_a_second_over_loopback() {
    let devices = vec![DeviceRange { first: "20000".to_owned(), count: 2 * PAIRS as usize }];
    let pbx = PbxLab::start(PbxOptions { devices, ..PbxOptions::default() }).await.unwrap();
    let mut client = Client::logged_in(pbx.addresses()[0], "speed").await;
    for device in 0..2 * PAIRS {
        client.monitor(&(20_000 + device).to_string()).await;
    }
    let mut next_call = 1_001;
    let (mut services, mut frames) = (0, 0_u64);
    let started = Instant::now();
    for _ in 0..ROUNDS {
        for step in 0..3 {
            let mut bytes = Vec::new();
            for pair in 0..PAIRS {
                let (a, b) = ((20_000 + 2 * pair).to_string(), (20_001 + 2 * pair).to_string());
                let call = (next_call + pair).to_string();
                let service = match step {
                    0 => make_call(&a, &b),
                    1 => Service::AnswerCall { call: ConnectionId::new(call, b) },
                    _ => Service::ClearConnection { connection: ConnectionId::new(call, a), reason: None },
                };
                bytes.extend(frame::encode(1, &encode(&Payload::Service(service), ED3)).unwrap());
            }
            client.stream.write_all(&bytes).await.unwrap();
            let mut open = PAIRS;
            while open > 0 {
                let frame = client.must().await;
                frames += 1;
                open -= u64::from(frame.invoke != frame::EVENT_ID);
            }
            services += PAIRS;
        }
        next_call += PAIRS;
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{services} services, {frames} frames: {:.0} services/s, one thread, client included",
        services as f64 / seconds
    );
}

#[test]
#[ignore = "a measurement"]
fn services_a_second_in_the_model_alone() {
    let mut model = Model::new(ModelOptions::default());
    model.add_devices("20000", 20_000).unwrap();
    let started = Instant::now();
    for call in 0..100_000_u64 {
        let pair = call % 10_000;
        let (a, b) = ((20_000 + 2 * pair).to_string(), (20_001 + 2 * pair).to_string());
        let id = (1_001 + call).to_string();
        model.apply(&make_call(&a, &b), None);
        model.apply(&Service::AnswerCall { call: ConnectionId::new(id.clone(), b) }, None);
        model.apply(&Service::ClearConnection { connection: ConnectionId::new(id, a), reason: None }, None);
    }
    assert_eq!(model.calls_count(), 0);
    println!("{:.0} services/s in the model alone", 300_000.0 / started.elapsed().as_secs_f64());
}
