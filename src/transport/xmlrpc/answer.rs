//! What an XML-RPC server answered.

use quick_xml::Reader;
use quick_xml::events::Event;

/// Deepest nesting that is read.
const DEPTH: usize = 64;
/// Longest text of a fault that is kept, in bytes.
const FAULT_BYTES: usize = 200;

/// What the body of an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The call was carried out.
    Accepted,
    /// It was not, and why.
    Fault(String),
    /// It is no answer, and why not.
    Malformed(String),
}

/// Reads the body of an answer: one `methodResponse`, well-formed to its end.
pub(super) fn read(body: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(body);
    let mut reader = Reader::from_str(&text);
    let mut document = Document::default();
    loop {
        let read = match reader.read_event() {
            Err(error) => Err(error.to_string()),
            Ok(Event::Eof) => return document.end(),
            Ok(event) => document.take(&event),
        };
        if let Err(why) = read {
            return Answer::Malformed(why);
        }
    }
}

/// What was read so far.
#[derive(Debug, Default)]
struct Document {
    /// The open elements.
    path: Vec<String>,
    has_root: bool,
    /// Whether `params` or `fault` was there.
    is_fault: Option<bool>,
    /// The last text in a `name`, and the texts of a fault's members.
    name: String,
    code: String,
    text: String,
}

impl Document {
    fn take(&mut self, event: &Event<'_>) -> Result<(), String> {
        match event {
            Event::Start(start) => self.open(start.name().as_ref()),
            Event::Empty(start) => {
                self.open(start.name().as_ref())?;
                self.path.pop();
                Ok(())
            }
            // The reader has checked that it ends what was opened last.
            Event::End(_) => {
                self.path.pop();
                Ok(())
            }
            Event::Text(text) => self.read_text(text),
            Event::CData(text) => self.read_text(text),
            Event::GeneralRef(entity) => self.read_entity(entity),
            Event::DocType(_) => Err("it has a document type".to_owned()),
            _ => Ok(()),
        }
    }

    fn open(&mut self, name: &str) -> Result<(), String> {
        match self.path.len() {
            0 if self.has_root => return Err("something follows the methodResponse".to_owned()),
            0 if name != "methodResponse" => return Err("it is no methodResponse".to_owned()),
            1 => match (name, self.is_fault) {
                ("params", None) => self.is_fault = Some(false),
                ("fault", None) => self.is_fault = Some(true),
                _ => return Err("it has neither params nor a fault, or both".to_owned()),
            },
            DEPTH.. => return Err("it is nested too deeply".to_owned()),
            _ => {}
        }
        if name == "name" {
            self.name.clear();
        }
        self.has_root = true;
        self.path.push(name.to_owned());
        Ok(())
    }

    fn read_text(&mut self, text: &str) -> Result<(), String> {
        match (self.path.len(), self.is_fault) {
            (0, _) if !text.trim_ascii().is_empty() => {
                Err("there is text beside the methodResponse".to_owned())
            }
            (2.., Some(true)) => {
                self.keep(text);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn read_entity(&mut self, entity: &str) -> Result<(), String> {
        let known = match entity {
            "lt" => "<",
            "gt" => ">",
            "amp" => "&",
            "quot" => "\"",
            "apos" => "'",
            // What a number stands for does not matter: only the text of a fault is shown.
            number if number.starts_with('#') => "\u{fffd}",
            _ => return Err("it has an entity that XML does not know".to_owned()),
        };
        self.read_text(known)
    }

    /// Keeps a fault's text where it belongs.
    fn keep(&mut self, text: &str) {
        let place = match self.path.last() {
            Some(name) if name == "name" => &mut self.name,
            _ if self.name == "faultCode" => &mut self.code,
            _ if self.name == "faultString" => &mut self.text,
            _ => return,
        };
        // Blanks between elements follow the value that is meant.
        if place.len() < FAULT_BYTES {
            place.push_str(text);
        }
    }

    fn end(self) -> Answer {
        if !self.path.is_empty() {
            return Answer::Malformed("it was cut".to_owned());
        }
        match self.is_fault {
            None => Answer::Malformed("it is no methodResponse".to_owned()),
            Some(false) => Answer::Accepted,
            Some(true) => {
                let fault = format!("fault {}: {}", self.code.trim(), self.text.trim());
                Answer::Fault(shown(&fault))
            }
        }
    }
}

/// A text from outside as it may be shown: in one line, and not too long.
pub(super) fn shown(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(plain).take(FAULT_BYTES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "<?xml version=\"1.0\"?>\n<methodResponse><params><param><value>\
                        <string>ok</string></value></param></params></methodResponse>";
    const FAULT: &str = "<?xml version='1.0'?>\n<methodResponse>\n<fault>\n<value><struct>\n\
                         <member>\n<name>faultCode</name>\n<value><int>4</int></value>\n</member>\n\
                         <member>\n<name>faultString</name>\n\
                         <value><string>Too &lt;many&gt; &#112;arameters</string></value>\n\
                         </member>\n</struct></value>\n</fault>\n</methodResponse>\n";

    #[test]
    fn answers_are_told_apart() {
        assert_eq!(read(GOOD.as_bytes()), Answer::Accepted);
        let empty = b"<methodResponse><params/></methodResponse>";
        assert_eq!(read(empty), Answer::Accepted);
        let fault = "fault 4: Too <many> \u{fffd}arameters";
        assert_eq!(read(FAULT.as_bytes()), Answer::Fault(fault.to_owned()));
    }

    #[test]
    fn what_is_no_answer_is_malformed() {
        for body in [
            "",
            "ok",
            "{\"result\":1}",
            "<methodResponse/>",
            "<methodResponse></methodResponse>",
            "<methodResponse><params>",
            "<methodResponse><params></methodResponse></params>",
            "<methodResponse><params/></methodResponse><methodResponse/>",
            "<methodResponse><params/></methodResponse>x",
            "<methodResponse><params/><fault/></methodResponse>",
            "<methodResponse><oops/></methodResponse>",
            "<methodCall><params/></methodCall>",
            "<!DOCTYPE x [<!ENTITY y \"z\">]><methodResponse><params/></methodResponse>",
            "<methodResponse><params>&y;</params></methodResponse>",
            "<html><body>It works!</body></html>",
        ] {
            assert!(
                matches!(read(body.as_bytes()), Answer::Malformed(_)),
                "{body}"
            );
        }
        let deep = format!("<methodResponse><params>{}", "<a>".repeat(10_000));
        assert!(matches!(read(deep.as_bytes()), Answer::Malformed(_)));
    }

    #[test]
    fn faults_are_shown_in_one_line_of_bounded_length() {
        let long = format!("x\n\u{1b}[0m{}", "y".repeat(10_000));
        let fault = FAULT.replace("Too", &long);
        let Answer::Fault(text) = read(fault.as_bytes()) else {
            panic!();
        };
        assert!(
            text.len() <= FAULT_BYTES && !text.contains(char::is_control),
            "{text}"
        );
    }

    #[test]
    fn nothing_that_is_cut_or_changed_is_accepted_unless_it_is_whole() {
        for end in 0..GOOD.len() {
            let answer = read(&GOOD.as_bytes()[..end]);
            assert!(matches!(answer, Answer::Malformed(_)), "{end}");
        }
        for at in 0..FAULT.len() {
            for byte in [0, b'<', b'>', b'&', b'x', 0xff] {
                let mut body = FAULT.as_bytes().to_vec();
                body[at] = byte;
                assert_ne!(read(&body), Answer::Accepted, "{at}: {byte}");
            }
        }
    }
}
