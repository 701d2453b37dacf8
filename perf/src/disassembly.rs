//! A look at this program's own machine code.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// How many instructions of that function read, change and write memory as one.
pub(crate) fn read_modify_writes(function: &str) -> Result<usize> {
    let program = std::env::current_exe()?;
    let symbols = output(Command::new("nm").args(["-C", "-S"]).arg(&program))?;
    let wanted = format!("::{function}");
    let line = symbols.lines().find(|line| line.ends_with(&wanted));
    let line = line.with_context(|| format!("no symbol {function}"))?;
    let mut fields = line.split_ascii_whitespace();
    let mut number = || -> Result<u64> {
        let field = fields.next().context("a short line of nm")?;
        Ok(u64::from_str_radix(field, 16)?)
    };
    let (start, size) = (number()?, number()?);
    let code = output(
        Command::new("objdump")
            .args(["-d", "--no-show-raw-insn"])
            .arg(format!("--start-address={start:#x}"))
            .arg(format!("--stop-address={:#x}", start + size))
            .arg(&program),
    )?;
    count(&code)
}

/// On x86-64 such an instruction has a `lock` prefix or is an `xchg` with memory; on AArch64 it
/// is one of the exclusive loads or the atomics of ARMv8.1.
fn count(code: &str) -> Result<usize> {
    let instructions: Vec<&str> = code
        .lines()
        .filter_map(|line| line.split_once(":\t").map(|(_, instruction)| instruction))
        .collect();
    ensure!(!instructions.is_empty(), "objdump shows no instruction");
    let is_atomic = |instruction: &&&str| {
        let name = instruction
            .split_ascii_whitespace()
            .next()
            .unwrap_or_default();
        name == "lock"
            || (name.starts_with("xchg") && instruction.contains('('))
            || ["ldxr", "ldaxr", "cas", "swp", "ldadd", "ldset", "ldclr"]
                .iter()
                .any(|atomic| name.starts_with(atomic))
    };
    Ok(instructions.iter().filter(is_atomic).count())
}

fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locked_instructions_are_counted() {
        let code = "\n0000000000001000 <f>:\n    1000:\tlock incq (%rax)\n    \
                    1004:\txchg   %ax,%ax\n    \
                    1006:\txchg   %rax,(%rdi)\n    1009:\tmov    (%rdi),%eax\n";
        assert_eq!(count(code).expect("code"), 2);
        assert!(count("no code").is_err());
    }
}
