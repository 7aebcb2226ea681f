use super::*;
use crate::jit::Unit;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

struct Flat(Vec<u64>);
impl AddressSpace for Flat {
    fn find(&self, address: u64) -> Option<Segment> {
        let s = Segment { start: 1 << 56, bytes: self.0.len() as u64 * 8, host: self.0.as_ptr() as *mut u8, owner: None };
        s.at(address, 1).map(|_| s)
    }
    fn generation(&self) -> u64 { 0 }
}

#[test]
fn all_compile() {
    for f in ["arithmetic","blocks","control","convert","math","memory"] {
        let text = std::fs::read_to_string(format!("tests/kernels/{f}.ptx")).unwrap();
        let unit = Unit::parse(&text).unwrap();
        let places: Vec<u64> = unit.globals().iter().map(|_| 1 << 56).collect();
        let c = unit.compile(&places, |_| false).map_err(|e| e.log).unwrap();
        for e in &c.0.entries { eprintln!("{} {:?} instrs {}", e.name, e.parameters.len(), c.0.program.functions[e.number].instructions.len()); }
    }
}

#[test]
fn gemm() {
    let text = std::fs::read_to_string("tests/kernels/blocks.ptx").unwrap();
    let unit = Unit::parse(&text).unwrap();
    let (c, _) = unit.compile(&[], |_| false).map_err(|e| e.log).unwrap();
    let entry = c.entries.iter().find(|e| e.name == "gemm_tiled").unwrap().clone();
    let n = std::env::var("GEMM").ok().and_then(|x| x.parse().ok()).unwrap_or(64usize);
    let base = 1u64 << 56;
    let mut mem = vec![0u64; n * n * 3 / 2 + 8];
    let f: &mut [f32] = unsafe { std::slice::from_raw_parts_mut(mem.as_mut_ptr().cast(), n * n * 3) };
    for i in 0..n * n { f[i] = (i % 7) as f32; f[n * n + i] = (i % 5) as f32; }
    let space = Flat(mem);
    let mut p = vec![];
    for k in 0..3u64 { p.extend((base + k * (n * n * 4) as u64).to_le_bytes()); }
    for _ in 0..3 { p.extend((n as u32).to_le_bytes()); }
    let launch = Launch { program: Arc::new(c.program), entry: entry.number, grid: [n as u32 / 16, n as u32 / 16, 1], block: [16, 16, 1], parameters: p, static_shared: entry.static_shared, dynamic_shared: 0, number: 0 };
    let t = crate::clock::now();
    let count = run(&launch, &space, &Limits { stop: &AtomicBool::new(false), instructions: None }).map_err(|c| c.to_string()).unwrap();
    let s = t.elapsed();
    eprintln!("{count} warp instructions in {s:?}: {:.1} ns each", s.as_nanos() as f64 / count as f64);
    let f: &[f32] = unsafe { std::slice::from_raw_parts(space.0.as_ptr().cast(), n * n * 3) };
    for i in (0..n).step_by(n / 8) { for j in (0..n).step_by(n / 8) {
        let want: f32 = (0..n).map(|k| f[i * n + k] * f[n * n + k * n + j]).sum();
        assert_eq!(f[2 * n * n + i * n + j], want);
    }}
}
