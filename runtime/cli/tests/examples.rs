//! Every kernel's example runs as it is printed, given the files; and pictures go in and come out.
#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use serde_json::Value;
use support::{Folder, data, example, npy};

/// What `kernel describe` says.
fn describe(folder: &Folder, kernel: &str) -> Value {
    let ended = folder.run(&["kernel", "describe", kernel, "--output-format", "json"]);
    serde_json::from_str(&ended.stdout).unwrap()
}

/// The length that a name stands for here. (Of three vertices the offsets are four: 0, 1, 2, 3.)
fn length(dimension: &Value) -> usize {
    match dimension.as_str() {
        Some("vertices_plus_one") => 4,
        Some(_) => 3,
        None => dimension.as_u64().unwrap() as usize,
    }
}

/// Writes a tensor of the numbers from 0 on, as a kernel's description wants it.
fn write_input(folder: &Folder, input: &Value) {
    let name = input["name"].as_str().unwrap();
    if input["picture"] == true {
        std::fs::copy(example("chelsea.png"), folder.path(format!("{name}.png"))).unwrap();
        return;
    }
    let lengths: Vec<usize> = input["shape"].as_array().unwrap().iter().map(length).collect();
    let numbers = 0..lengths.iter().product::<usize>();
    let (descr, data): (_, Vec<u8>) = match input["datatype"].as_str().unwrap() {
        "FP32" => ("<f4", numbers.flat_map(|n| (n as f32).to_le_bytes()).collect()),
        "INT32" => ("<i4", numbers.flat_map(|n| (n as i32).to_le_bytes()).collect()),
        other => panic!("no kernel took {other} when this was written"),
    };
    let shape: Vec<String> = lengths.iter().map(|length| format!("{length},")).collect();
    folder
        .write(format!("{name}.npy"), &npy(descr, false, &format!("({})", shape.concat()), &data));
}

#[test]
fn the_example_of_every_kernel_runs_as_it_is_printed() {
    let list = Folder::new().run(&["kernel", "list", "--output-format", "json"]).stdout;
    let kernels: Vec<Value> = serde_json::from_str(&list).unwrap();
    assert!(kernels.len() >= 13, "{}", kernels.len());
    for kernel in &kernels {
        let folder = Folder::new();
        let name = kernel["name"].as_str().unwrap();
        assert_eq!(describe(&folder, name), *kernel, "the list describes it likewise");
        kernel["inputs"].as_array().unwrap().iter().for_each(|input| write_input(&folder, input));
        let described = folder.run(&["kernel", "describe", name]).stdout;
        let (_, example) = described.split_once("EXAMPLE\n").unwrap();
        let ended = folder.shell(&example.replacen("rustkernel", "$RUSTKERNEL", 1));
        assert_eq!(ended.code, 0, "{example}\n{}", ended.stderr);
        for output in kernel["outputs"].as_array().unwrap() {
            let extension = if output["picture"] == true { "png" } else { "npy" };
            let file = format!("{}.{extension}", output["name"].as_str().unwrap());
            assert!(folder.names().contains(&file), "{example}");
        }
    }
}

#[test]
fn pictures_go_in_and_come_out_in_every_format() {
    let folder = Folder::new();
    std::fs::copy(example("chelsea.png"), folder.path("cat.png")).unwrap();
    let blur = |input: &str, output: &str| {
        let (input, output) = (format!("image={input}"), format!("output={output}"));
        let ended =
            folder.run(&["call", "gaussian_blur", "-i", &input, "-p", "sigma=0", "-o", &output]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        ended.stderr
    };
    // A blur of 0 leaves a picture as it is: what went in can be compared with what came out.
    assert!(blur("cat.png", "first.npy").contains("output: UINT8 [300, 451, 3] → first.npy"));
    for file in ["cat.bmp", "cat.ppm", "again.png"] {
        blur("cat.png", file);
        blur(file, "second.npy");
        assert_eq!(folder.read("first.npy"), folder.read("second.npy"), "{file}");
    }
    blur("cat.png", "cat.jpg");
    blur("cat.jpg", "lossy.npy");
    let pixels = |name: &str| data(&folder.read(name)).to_vec();
    let (exact, lossy) = (pixels("first.npy"), pixels("lossy.npy"));
    let off: u64 = exact.iter().zip(&lossy).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    assert!(off / exact.len() as u64 <= 3, "a JPEG looks much the same");
}

#[test]
fn pictures_have_one_three_or_four_channels() {
    let folder = Folder::new();
    for channels in [1usize, 3, 4] {
        let pixels: Vec<u8> = (0..4 * 5 * channels).map(|n| (n * 11) as u8).collect();
        let shape = format!("(4, 5, {channels})");
        folder.write("in.npy", &npy("|u1", false, &shape, &pixels));
        for (input, output) in [("in.npy", "out.png"), ("out.png", "back.npy")] {
            let (input, output) = (format!("image={input}"), format!("output={output}"));
            let ended = folder.run(&[
                "call",
                "gaussian_blur",
                "-i",
                &input,
                "-p",
                "sigma=0",
                "-o",
                &output,
            ]);
            assert_eq!(ended.code, 0, "{}", ended.stderr);
        }
        assert_eq!(data(&folder.read("back.npy")), pixels);
    }
    folder.write("two.npy", &npy("|u1", false, "(4, 5, 2)", &[0; 40]));
    let ended = folder.run(&["call", "gaussian_blur", "-i", "image=two.npy"]);
    assert_eq!(ended.code, 65, "{}", ended.stderr);
}
