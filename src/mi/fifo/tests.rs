use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::testing::TempDir;

fn config(directory: &TempDir) -> FifoConfig {
    FifoConfig {
        reply_dir: directory.path().to_owned(),
        ..FifoConfig::new(directory.file("mi"))
    }
}

fn make_fifo(path: &Path) {
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path,
        FileType::Fifo,
        Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
}

#[test]
fn it_is_made_with_its_mode_and_removed_on_drop() {
    for mode in [0o600, 0o660] {
        let directory = TempDir::new();
        let config = FifoConfig {
            mode,
            ..config(&directory)
        };
        let fifo = Fifo::create(config).unwrap();
        let metadata = fs::symlink_metadata(directory.file("mi")).unwrap();
        assert!(metadata.file_type().is_fifo());
        assert_eq!(metadata.permissions().mode() & 0o777, mode);
        drop(fifo);
        assert!(!directory.file("mi").exists());
    }
}

#[test]
fn a_stale_one_is_replaced_and_nothing_else_is() {
    let directory = TempDir::new();
    let path = directory.file("mi");
    make_fifo(&path);
    drop(Fifo::create(config(&directory)).unwrap());

    make_fifo(&path);
    let reader = rustix::fs::open(&path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).unwrap();
    let error = Fifo::create(config(&directory)).unwrap_err();
    assert!(error.contains("another process serves it"), "{error}");
    assert!(path.exists());
    drop(reader);

    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    let error = Fifo::create(config(&directory)).unwrap_err();
    assert!(error.contains("no FIFO"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");

    fs::remove_file(&path).unwrap();
    let target = directory.file("target");
    make_fifo(&target);
    std::os::unix::fs::symlink(&target, &path).unwrap();
    assert!(
        Fifo::create(config(&directory))
            .unwrap_err()
            .contains("no FIFO")
    );
}

#[test]
fn a_directory_open_to_all_is_refused_unless_sticky() {
    let directory = TempDir::new();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let error = Fifo::create(config(&directory)).unwrap_err();
    assert!(error.contains("any user may replace files"), "{error}");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    Fifo::create(config(&directory)).unwrap();
}

#[test]
fn one_that_was_replaced_is_not_removed() {
    let directory = TempDir::new();
    let path = directory.file("mi");
    let fifo = Fifo::create(config(&directory)).unwrap();
    assert!(fifo.is_there());
    fs::rename(&path, directory.file("away")).unwrap();
    assert!(!fifo.is_there());
    fs::write(&path, "precious").unwrap();
    assert!(!fifo.is_there());
    drop(fifo);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn reply_names_are_plain() {
    let directory = TempDir::new();
    let fifo = Fifo::create(config(&directory)).unwrap();
    let replies = &fifo.replies;
    assert_eq!(replies.file_name("", false), Ok(None));
    for name in ["reply", "opensips_fifo_reply_12_34", "A-b_9"] {
        assert_eq!(replies.file_name(name, false), Ok(Some(name.into())));
        assert_eq!(replies.file_name(name, true), Ok(Some(name.into())));
    }
    for name in [
        "..",
        ".",
        "a.b",
        "a/b",
        "/etc/passwd",
        "a\\b",
        "a b",
        "é",
        "a\0",
        "../x",
    ] {
        for is_text in [false, true] {
            let error = replies.file_name(name, is_text).unwrap_err();
            assert!(error.contains("expected a name"), "{error}");
        }
    }
    let path = directory.file("reply").display().to_string();
    assert_eq!(replies.file_name(&path, true), Ok(Some("reply".into())));
    assert!(replies.file_name(&path, false).is_err());
    let outside = format!("{}/../reply", directory.path().display());
    assert!(replies.file_name(&outside, true).is_err());
    assert!(
        replies
            .file_name(&format!("{}/", directory.path().display()), true)
            .is_err()
    );
}

#[test]
fn only_a_fifo_of_ours_with_one_name_is_opened_for_a_reply() {
    let directory = TempDir::new();
    let fifo = Fifo::create(config(&directory)).unwrap();
    let replies = &fifo.replies;
    let refused = |name: &str| match replies.open_reply(name).map(|_| ()) {
        Err(OpenError::Refused(why)) => why,
        other => panic!("{other:?}"),
    };
    refused("absent");

    fs::write(directory.file("plain"), "").unwrap();
    assert!(refused("plain").contains("no FIFO"));

    let reply = directory.file("reply");
    make_fifo(&reply);
    assert_eq!(
        replies.open_reply("reply").unwrap_err(),
        OpenError::NoReader
    );
    let reader =
        rustix::fs::open(&reply, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).unwrap();
    replies.open_reply("reply").unwrap();

    std::os::unix::fs::symlink(&reply, directory.file("link")).unwrap();
    assert!(refused("link").contains("symbolic link"));
    fs::hard_link(&reply, directory.file("second")).unwrap();
    assert!(refused("reply").contains("more than one name"));
    assert!(refused("second").contains("more than one name"));
    drop(reader);
}

#[test]
fn a_reply_fifo_of_another_user_is_refused_unless_others_may_send() {
    let directory = TempDir::new();
    let reply = directory.file("reply");
    make_fifo(&reply);
    let reader =
        rustix::fs::open(&reply, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).unwrap();
    let owner = fs::metadata(&reply).unwrap().uid();
    if owner == 0 {
        // Only root can make a file of another user, and only for root does it matter which.
        std::os::unix::fs::chown(&reply, Some(12345), None).unwrap();
        let fifo = Fifo::create(config(&directory)).unwrap();
        let refused = OpenError::Refused("it belongs to another user".into());
        assert_eq!(fifo.replies.open_reply("reply").unwrap_err(), refused);
        drop(fifo);
        let shared = FifoConfig {
            mode: 0o660,
            ..config(&directory)
        };
        Fifo::create(shared)
            .unwrap()
            .replies
            .open_reply("reply")
            .unwrap();
    } else {
        Fifo::create(config(&directory))
            .unwrap()
            .replies
            .open_reply("reply")
            .unwrap();
    }
    drop(reader);
}
