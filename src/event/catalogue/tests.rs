use std::collections::HashSet;

use super::*;
use crate::event::EventName;

fn notification(name: &str, params: Vec<Param<'static>>) -> Notification<'static> {
    Notification {
        method: name.to_owned().into(),
        params,
    }
}

#[test]
fn the_first_six_are_numbered_as_in_opensips() {
    let names: Vec<_> = CATALOGUE[..6].iter().map(|spec| spec.name).collect();
    assert_eq!(
        names,
        [
            "E_CORE_SR_STATUS_CHANGED",
            "E_CORE_THRESHOLD",
            "E_CORE_SHM_THRESHOLD",
            "E_CORE_PKG_THRESHOLD",
            "E_CORE_PROC_AUTO_SCALE",
            "E_CORE_TCP_DISCONNECT",
        ]
    );
    assert_eq!(CATALOGUE.last().unwrap().name, "E_CORE_LOG");
}

#[test]
fn every_name_is_valid_and_there_once() {
    let mut names = HashSet::new();
    for spec in CATALOGUE {
        assert!(EventName::new(spec.name).is_ok(), "{}", spec.name);
        assert!(names.insert(spec.name), "{} is there twice", spec.name);
        assert!(
            spec.about.ends_with('.') && !spec.module.is_empty(),
            "{}",
            spec.name
        );
        assert_eq!(find(spec.name), Some(spec));
    }
    assert_eq!(find("E_NOT_THERE"), None);
    assert_eq!(find("e_pike_blocked"), None);
}

/// What the check builds is what it takes: all parameters, and only those that are needed.
#[test]
fn each_event_passes_with_and_without_its_optional_parameters() {
    for spec in CATALOGUE {
        for with_optional in [true, false] {
            let params = spec
                .params
                .iter()
                .filter(|param| with_optional || !param.optional)
                .map(|param| match param.kind {
                    Kind::Str => Param::named(param.name, "x"),
                    Kind::Int => Param::named(param.name, 1),
                })
                .collect();
            assert_eq!(
                spec.check(&notification(spec.name, params)),
                Ok(()),
                "{spec}"
            );
        }
    }
}

#[test]
fn a_wrong_notification_is_refused_with_the_parameter() {
    let spec = find("E_DISPATCHER_STATUS").unwrap();
    let group = || Param::named("group", 1);
    let address = || Param::named("address", "sip:a");
    let status = || Param::named("status", Value::Null);
    assert_eq!(
        spec.check(&notification(spec.name, vec![group(), address(), status()])),
        Ok(())
    );
    let cases = [
        (vec![], "group"),
        (vec![group(), address()], "status"),
        (
            vec![address(), group(), status()],
            "needs the parameter group int before \"address\"",
        ),
        (
            vec![group(), address(), status(), group()],
            "\"group\", is there twice",
        ),
        (
            vec![group(), address(), status(), Param::named("more", 1)],
            "no parameter \"more\"",
        ),
        (
            vec![Param::named("group", "1"), address(), status()],
            "must be group int",
        ),
        (
            vec![group(), Param::named("address", 1), status()],
            "must be address str",
        ),
        (
            vec![Param::positional(1), address(), status()],
            "parameter 1",
        ),
    ];
    for (params, text) in cases {
        let error = spec.check(&notification(spec.name, params)).unwrap_err();
        assert!(
            error.contains(text) && error.contains(spec.name),
            "{error:?} lacks {text:?}"
        );
    }
    let error = spec.check(&notification("E_OTHER", vec![])).unwrap_err();
    assert!(error.contains("E_OTHER"), "{error}");
}

#[test]
fn extras_may_stand_anywhere_but_only_where_they_are_known() {
    let spec = find("E_ACC_MISSED_EVENT").unwrap();
    let mut params: Vec<_> = spec
        .params
        .iter()
        .map(|param| match param.kind {
            Kind::Str => Param::named(param.name, "x"),
            Kind::Int => Param::named(param.name, 1),
        })
        .collect();
    params.insert(7, Param::named("extra", "x"));
    assert_eq!(spec.check(&notification(spec.name, params.clone())), Ok(()));
    params.push(Param::named("callid", "x"));
    assert!(spec.check(&notification(spec.name, params)).is_err());
}

#[test]
fn a_spec_prints_as_a_signature() {
    let text = find("E_DISPATCHER_STATUS").unwrap().to_string();
    let expected = "[partition str], group int, address str, status str, [reason str]";
    assert_eq!(text, format!("E_DISPATCHER_STATUS({expected})"));
    assert_eq!(
        find("E_RTPENGINE_NOTIFICATION").unwrap().to_string(),
        "E_RTPENGINE_NOTIFICATION(…)"
    );
}
