//! Instructions of the hot paths, as `benches/instructions/run` counts them.
//!
//! Empty without `--cfg fuzzing`, which shows what is counted (`hot.rs`).
#![allow(missing_docs, reason = "a bench")]

#[cfg(not(fuzzing))]
fn main() {}

#[cfg(fuzzing)]
fn main() {
    counted::run();
}

#[cfg(fuzzing)]
mod counted {
    use std::hint::black_box;

    use bellwire::hot::{Encode, Hot, Lane, Published, SUBSCRIPTIONS, udp, unix};
    use gungraun::prelude::*;

    #[library_benchmark]
    #[bench::unheard(Hot::new(0, udp))]
    #[bench::heard(Hot::new(1, udp))]
    fn raise(hot: Hot) -> Hot {
        hot.raise();
        black_box(hot)
    }

    /// Has glibc copy with the same instructions on every processor.
    pub(crate) fn plain() -> LibraryBenchmarkConfig {
        const ALL: &str = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2,-AVX,-ERMS,-FSRM,-SSSE3";
        let mut config = LibraryBenchmarkConfig::default();
        config.env("GLIBC_TUNABLES", ALL);
        config
    }

    fn raised(socket: fn(usize) -> String) -> Hot {
        let hot = Hot::new(SUBSCRIPTIONS, socket);
        assert_eq!(hot.raise_once(), bellwire::Raised::Queued);
        hot
    }

    #[library_benchmark]
    #[bench::udp(raised(udp))]
    #[bench::unix(raised(unix))]
    fn fan_out(mut hot: Hot) -> Hot {
        hot.turn();
        black_box(hot)
    }

    #[library_benchmark]
    #[bench::three(Encode::default())]
    fn encode(mut encode: Encode) -> (usize, Encode) {
        (black_box(encode.three()), encode)
    }

    #[library_benchmark]
    #[bench::string(Encode::default())]
    fn escape(mut encode: Encode) -> (usize, Encode) {
        (black_box(encode.escapes()), encode)
    }

    #[library_benchmark]
    #[bench::push_and_drain(Lane::default())]
    fn lane(mut lane: Lane) -> (usize, Lane) {
        (black_box(lane.push_and_drain()), lane)
    }

    #[library_benchmark]
    #[bench::load(Published::default())]
    fn snapshot(published: Published) -> (u64, Published) {
        (black_box(published.load()), published)
    }

    library_benchmark_group!(
        name = paths,
        benchmarks = [raise, fan_out, encode, escape, lane, snapshot]
    );

    gungraun::main!(config = plain(), library_benchmark_groups = paths);

    pub(crate) fn run() {
        main();
    }
}
