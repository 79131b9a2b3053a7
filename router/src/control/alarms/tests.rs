use super::*;

fn shown(alarms: &Alarms, now: Instant) -> Vec<&str> {
    alarms.shown(now).map(String::as_str).collect()
}

#[test]
fn a_trouble_ends_with_its_cause_and_an_alarm_with_time() {
    let (mut alarms, now) = (Alarms::default(), Instant::now());
    alarms.raise(&"moved too often", now);
    alarms.judge(Part::Bridge, Some("no bridge".to_owned()));
    assert_eq!(shown(&alarms, now), ["no bridge", "moved too often"]);
    assert!(!alarms.works(Part::Bridge) && alarms.works(Part::Edge));
    alarms.judge(Part::Bridge, None);
    assert_eq!(shown(&alarms, now + SHOWN / 2), ["moved too often"]);
    assert!(shown(&alarms, now + SHOWN).is_empty());
}

#[test]
fn the_newest_alarms_are_shown_each_once() {
    let (mut alarms, now) = (Alarms::default(), Instant::now());
    for number in 0..ALARMS {
        alarms.raise(&number, now);
    }
    alarms.raise(&0, now);
    alarms.raise(&"new", now);
    let all = shown(&alarms, now);
    assert_eq!((all.len(), all[0], all[ALARMS - 2], all[ALARMS - 1]), (ALARMS, "2", "0", "new"));
}
