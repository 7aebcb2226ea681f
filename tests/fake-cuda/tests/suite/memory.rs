//! Device memory, pinned memory, pools, virtual memory: capacity, addresses, lifetimes.

use std::ffi::c_void;
use std::ptr;

use cust::memory::{DeviceBuffer, LockedBuffer};
use cust::sys;

use crate::support::*;

fn allocate(bytes: usize) -> Result<u64, u32> {
    let mut address = 0;
    // SAFETY: a place for the result.
    match code(unsafe { sys::cuMemAlloc_v2(&mut address, bytes) }) {
        0 => Ok(address),
        code => Err(code),
    }
}

fn free(address: u64) -> u32 {
    // SAFETY: any number may be passed: the fake driver looks it up.
    code(unsafe { sys::cuMemFree_v2(address) })
}

#[test]
fn memory_runs_out_and_comes_back() {
    let gpu = gpu();
    let most = MEMORY as usize;
    let a = allocate(most / 4 * 3).unwrap();
    assert_eq!(allocate(most / 2), Err(2));
    assert_eq!(allocate(usize::MAX), Err(2));
    assert_eq!(allocate(0), Err(1));
    let (mut free_bytes, mut total) = (0, 0);
    // SAFETY: places for the results.
    ok(unsafe { sys::cuMemGetInfo_v2(&mut free_bytes, &mut total) });
    assert_eq!((free_bytes, total), (most / 4, most));
    assert_eq!(free(a), 0);
    assert_eq!(gpu.ledger().device_bytes, 0);
    assert_eq!(gpu.ledger().peak_device_bytes, MEMORY / 4 * 3);
    let all = allocate(most).unwrap();
    assert_eq!(free(all), 0);
}

#[test]
fn addresses_are_never_used_again_and_bad_frees_are_found() {
    let _gpu = gpu();
    let first = allocate(1000).unwrap();
    assert_eq!(free(first), 0);
    assert_eq!(free(first), 1, "twice");
    let second = allocate(1000).unwrap();
    assert_ne!(first, second);
    assert_eq!((free(second + 8), free(0), free(0xdead_0000)), (1, 1, 1));
    assert_eq!(free(second), 0);
}

#[test]
fn fresh_memory_is_no_zeros() {
    let _gpu = gpu();
    // SAFETY: every byte is a number.
    let fresh = unsafe { DeviceBuffer::<u8>::uninitialized(1000).unwrap() };
    assert_eq!(read(&fresh), vec![0xa5; 1000]);
}

#[test]
fn copies_are_checked_at_the_call() {
    let _gpu = gpu();
    let at = allocate(100).unwrap();
    let mut host = [0u8; 200];
    let (to, from) = (host.as_mut_ptr().cast::<c_void>(), host.as_ptr().cast::<c_void>());
    // SAFETY: the host's array is long enough for each.
    unsafe {
        assert_eq!(code(sys::cuMemcpyDtoH_v2(to, at, 101)), 1, "past the end");
        assert_eq!(code(sys::cuMemcpyHtoD_v2(at + 50, from, 51)), 1);
        assert_eq!(code(sys::cuMemcpyDtoH_v2(to, 0xdead_0000, 1)), 1, "no such memory");
        assert_eq!(code(sys::cuMemcpyHtoDAsync_v2(at, from, 101, ptr::null_mut())), 1);
        assert_eq!(code(sys::cuMemsetD32_v2(at + 2, 0, 1)), 1, "not aligned");
        ok(sys::cuMemcpyHtoD_v2(at, from, 0));
        ok(sys::cuMemsetD8_v2(at, 7, 100));
        ok(sys::cuMemsetD16_v2(at + 10, 0x0102, 5));
        ok(sys::cuMemsetD32_v2(at + 40, 0x0a0b_0c0d, 3));
        ok(sys::cuMemcpyDtoD_v2(at + 60, at + 40, 12));
        ok(sys::cuMemcpyDtoH_v2(to, at, 100));
    }
    assert_eq!(host[8..12], [7, 7, 2, 1]);
    assert_eq!(host[40..44], [0x0d, 0x0c, 0x0b, 0x0a]);
    assert_eq!(host[60..72], host[40..52]);
    assert_eq!(host[99..101], [7, 0]);
    assert_eq!(free(at), 0);
}

#[test]
fn rows_are_copied_at_their_pitches() {
    let _gpu = gpu();
    let (mut address, mut pitch) = (0, 0);
    // SAFETY: places for the results.
    ok(unsafe { sys::cuMemAllocPitch_v2(&mut address, &mut pitch, 12, 3, 4) });
    assert!(pitch >= 12 && pitch % 512 == 0);
    let rows: Vec<u8> = (0..36).collect();
    let mut back = [0u8; 24];
    let mut copy = sys::CUDA_MEMCPY2D {
        srcXInBytes: 0,
        srcY: 0,
        srcMemoryType: sys::CUmemorytype::CU_MEMORYTYPE_HOST,
        srcHost: rows.as_ptr().cast(),
        srcDevice: 0,
        srcArray: ptr::null_mut(),
        srcPitch: 12,
        dstXInBytes: 0,
        dstY: 0,
        dstMemoryType: sys::CUmemorytype::CU_MEMORYTYPE_DEVICE,
        dstHost: ptr::null_mut(),
        dstDevice: address,
        dstArray: ptr::null_mut(),
        dstPitch: pitch,
        WidthInBytes: 12,
        Height: 3,
    };
    // SAFETY: the places are as large as the rows say.
    ok(unsafe { sys::cuMemcpy2D_v2(&copy) });
    copy.srcMemoryType = sys::CUmemorytype::CU_MEMORYTYPE_DEVICE;
    copy.srcDevice = address;
    (copy.srcPitch, copy.srcXInBytes, copy.srcY) = (pitch, 4, 1);
    copy.dstMemoryType = sys::CUmemorytype::CU_MEMORYTYPE_HOST;
    copy.dstHost = back.as_mut_ptr().cast();
    copy.dstPitch = 12;
    (copy.WidthInBytes, copy.Height) = (8, 2);
    // SAFETY: as above.
    ok(unsafe { sys::cuMemcpy2D_v2(&copy) });
    assert_eq!(back[..8], rows[16..24]);
    assert_eq!(back[12..20], rows[28..36]);
    assert_eq!(free(address), 0);
}

#[test]
fn pinned_memory_has_one_address_for_both_sides() {
    let gpu = gpu();
    let mut pinned = LockedBuffer::new(&0u32, 64).unwrap();
    assert_eq!(gpu.ledger().pinned_bytes, 256);
    let (x, y) = (buffer(&[1f32; 64]), pinned.as_mut_ptr());
    let mut device = 0;
    // SAFETY: the buffer is pinned.
    ok(unsafe { sys::cuMemHostGetDevicePointer_v2(&mut device, y.cast(), 0) });
    assert_eq!(device, y as u64);
    // a kernel writes to it
    let (a, px, n) = (3.0f32, x.as_device_ptr(), 64u32);
    launch(&module(MEMORY_KERNELS), "saxpy", line(64), args![a, px, device, n]);
    assert!(pinned.iter().all(|bits| f32::from_bits(*bits) == 3.0));
    let inside = y.wrapping_add(63).cast::<c_void>();
    let outside = y.wrapping_add(64).cast::<c_void>();
    // SAFETY: a place for the result.
    unsafe {
        ok(sys::cuMemHostGetDevicePointer_v2(&mut device, inside, 0));
        assert_eq!(code(sys::cuMemHostGetDevicePointer_v2(&mut device, outside, 0)), 1);
        assert_eq!(code(sys::cuMemFreeHost(inside)), 1);
    }
    drop(pinned);
    assert_eq!(gpu.ledger().pinned_bytes, 0);
}

#[test]
fn the_programs_own_memory_is_registered() {
    let gpu = gpu();
    let mut own = vec![2f32; 1024];
    let start = own.as_mut_ptr().cast::<c_void>();
    // SAFETY: the memory lives until it is unregistered.
    unsafe {
        ok(sys::cuMemHostRegister_v2(start, 4096, 0));
        assert_eq!(code(sys::cuMemHostRegister_v2(start, 4096, 0)), 712);
        let x = buffer(&[1f32; 1024]);
        let (a, px, n) = (5.0f32, x.as_device_ptr(), 1024u32);
        launch(&module(MEMORY_KERNELS), "saxpy", line(1024), args![a, px, start, n]);
        assert_eq!(gpu.ledger().registered_bytes, 4096);
        ok(sys::cuMemHostUnregister(start));
        assert_eq!(code(sys::cuMemHostUnregister(start)), 713);
    }
    assert_eq!(own, vec![7f32; 1024]);
}

fn attribute<T: Default>(number: sys::CUpointer_attribute, address: u64) -> Result<T, u32> {
    let mut value = T::default();
    let to = ptr::from_mut(&mut value).cast();
    // SAFETY: a place of the attribute's type.
    match code(unsafe { sys::cuPointerGetAttribute(to, number, address) }) {
        0 => Ok(value),
        code => Err(code),
    }
}

#[test]
fn pointers_tell_what_they_are_of() {
    use sys::CUpointer_attribute as Of;
    let gpu = gpu();
    let at = allocate(1000).unwrap();
    let pinned = LockedBuffer::new(&0u8, 10).unwrap();
    let host = pinned.as_ptr() as u64;
    assert_eq!(attribute::<u32>(Of::CU_POINTER_ATTRIBUTE_MEMORY_TYPE, at + 5), Ok(2));
    assert_eq!(attribute::<u32>(Of::CU_POINTER_ATTRIBUTE_MEMORY_TYPE, host), Ok(1));
    assert_eq!(attribute::<u64>(Of::CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, at + 5), Ok(at));
    assert_eq!(attribute::<usize>(Of::CU_POINTER_ATTRIBUTE_RANGE_SIZE, at), Ok(1000));
    let device = gpu.ordinal() as i32;
    assert_eq!(attribute::<i32>(Of::CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, at), Ok(device));
    assert_eq!(attribute::<u64>(Of::CU_POINTER_ATTRIBUTE_HOST_POINTER, at), Err(1));
    assert_eq!(attribute::<u64>(Of::CU_POINTER_ATTRIBUTE_HOST_POINTER, host), Ok(host));
    assert_eq!(attribute::<u32>(Of::CU_POINTER_ATTRIBUTE_MEMORY_TYPE, 0x1234), Err(1));
    let mut wanted =
        [Of::CU_POINTER_ATTRIBUTE_MEMORY_TYPE, Of::CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL];
    let (mut kind, mut ordinal) = (9u32, 9i32);
    let mut to = [ptr::from_mut(&mut kind).cast(), ptr::from_mut(&mut ordinal).cast()];
    // SAFETY: places of the attributes' types.
    ok(unsafe { sys::cuPointerGetAttributes(2, wanted.as_mut_ptr(), to.as_mut_ptr(), 0x1234) });
    assert_eq!((kind, ordinal), (0, -2), "nothing that the driver knows");
    assert_eq!(free(at), 0);
}

#[test]
fn managed_memory_is_everywhere() {
    let gpu = gpu();
    let mut address = 0;
    // SAFETY: a place for the result.
    ok(unsafe { sys::cuMemAllocManaged(&mut address, 4096, 1) });
    assert_eq!(gpu.ledger().device_bytes, 4096);
    // SAFETY: managed memory is the host's too; nothing else uses it.
    let here = unsafe { std::slice::from_raw_parts_mut(address as *mut f32, 1024) };
    here.fill(1.0);
    let x = buffer(&[2f32; 1024]);
    let (a, px, n) = (10.0f32, x.as_device_ptr(), 1024u32);
    launch(&module(MEMORY_KERNELS), "saxpy", line(1024), args![a, px, address, n]);
    assert!(here.iter().all(|x| *x == 21.0));
    assert_eq!((free(address), free(address)), (0, 1));
}

mod pools {
    use super::*;

    fn get(pool: sys::CUmemoryPool, which: sys::CUmemPool_attribute) -> u64 {
        let mut value = 0u64;
        // SAFETY: a place for the value.
        ok(unsafe { sys::cuMemPoolGetAttribute(pool, which, ptr::from_mut(&mut value).cast()) });
        value
    }

    #[test]
    fn memory_is_stream_ordered_and_kept_up_to_the_threshold() {
        use sys::CUmemPool_attribute::*;
        let gpu = gpu();
        let stream = gpu.stream();
        let (mut pool, mut a, mut b) = (ptr::null_mut(), 0, 0);
        // SAFETY: places for the results, and handles that live.
        unsafe {
            ok(sys::cuDeviceGetDefaultMemPool(&mut pool, gpu.ordinal() as i32));
            let mut threshold = 1u64 << 20;
            let to = ptr::from_mut(&mut threshold).cast();
            ok(sys::cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, to));
            ok(sys::cuMemAllocAsync(&mut a, 3 << 20, stream.as_inner()));
            ok(sys::cuMemAllocAsync(&mut b, 1 << 20, stream.as_inner()));
            assert_eq!(get(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT), 4 << 20);
            ok(sys::cuMemFreeAsync(a, stream.as_inner()));
            assert_eq!(code(sys::cuMemFreeAsync(a, stream.as_inner())), 1, "twice");
            stream.synchronize().unwrap();
            assert_eq!(get(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT), 1 << 20);
            assert_eq!(get(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT), 1 << 20);
            assert_eq!(get(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH), 4 << 20);
            ok(sys::cuMemFreeAsync(b, stream.as_inner()));
            stream.synchronize().unwrap();
            assert_eq!(get(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT), 1 << 20, "the threshold");
            assert_eq!(gpu.ledger().pool_bytes, 1 << 20);
            ok(sys::cuMemPoolTrimTo(pool, 0));
            assert_eq!(gpu.ledger().device_bytes, 0);
            let too_much = MEMORY as usize + 1;
            assert_eq!(code(sys::cuMemAllocAsync(&mut a, too_much, stream.as_inner())), 2);
        }
    }

    #[test]
    fn a_pool_of_ones_own() {
        let gpu = gpu();
        let stream = gpu.stream();
        let properties = sys::CUmemPoolProps {
            allocType: sys::CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED,
            handleTypes: sys::CUmemAllocationHandleType_enum::CU_MEM_HANDLE_TYPE_NONE,
            location: sys::CUmemLocation {
                type_: sys::CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE,
                id: gpu.ordinal() as i32,
            },
            win32SecurityAttributes: ptr::null_mut(),
            reserved: [0; 64],
        };
        let (mut pool, mut a) = (ptr::null_mut(), 0);
        // SAFETY: places for the results, and handles that live.
        unsafe {
            ok(sys::cuMemPoolCreate(&mut pool, &properties));
            ok(sys::cuMemAllocFromPoolAsync(&mut a, 100, pool, stream.as_inner()));
            assert_eq!(gpu.ledger().pools, 1);
            ok(sys::cuMemPoolDestroy(pool));
            assert_eq!(code(sys::cuMemPoolDestroy(pool)), 1);
            assert_eq!(gpu.ledger().pool_bytes, 100, "what was allocated stays");
            assert_eq!(free(a), 0, "and may be freed as any other memory");
        }
        assert_eq!((gpu.ledger().pool_bytes, gpu.ledger().pools), (0, 0));
    }
}

mod virtual_memory {
    use super::*;

    const PAGE: usize = 2 << 20;

    fn properties(ordinal: usize) -> sys::CUmemAllocationProp {
        use sys::{CUmemAllocationType, CUmemLocationType};
        sys::CUmemAllocationProp {
            type_: CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED,
            requestedHandleTypes: no_handles(),
            location: sys::CUmemLocation {
                type_: CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE,
                id: ordinal as i32,
            },
            win32HandleMetaData: ptr::null_mut(),
            allocFlags: Default::default(),
        }
    }

    fn no_handles() -> sys::CUmemAllocationHandleType {
        sys::CUmemAllocationHandleType_enum::CU_MEM_HANDLE_TYPE_NONE
    }

    fn access(ordinal: usize) -> sys::CUmemAccessDesc {
        sys::CUmemAccessDesc {
            location: properties(ordinal).location,
            flags: sys::CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_READWRITE,
        }
    }

    #[test]
    fn pages_are_mapped_used_and_remapped() {
        let gpu = gpu();
        let properties = properties(gpu.ordinal());
        let access = access(gpu.ordinal());
        let (mut space, mut grain, mut one, mut two) = (0, 0, 0, 0);
        let minimum = sys::CUmemAllocationGranularity_flags::CU_MEM_ALLOC_GRANULARITY_MINIMUM;
        // SAFETY: places for the results; numbers that the fake driver looks up.
        unsafe {
            ok(sys::cuMemGetAllocationGranularity(&mut grain, &properties, minimum));
            assert_eq!(grain, PAGE);
            ok(sys::cuMemAddressReserve(&mut space, 1 << 40, 0, 0, 0));
            assert_eq!(gpu.ledger().device_bytes, 0, "addresses cost nothing");
            assert_eq!(code(sys::cuMemCreate(&mut one, PAGE + 1, &properties, 0)), 1);
            ok(sys::cuMemCreate(&mut one, PAGE, &properties, 0));
            ok(sys::cuMemCreate(&mut two, PAGE, &properties, 0));
            assert_eq!(gpu.ledger().physical_bytes, 2 * PAGE as u64);
            ok(sys::cuMemMap(space, PAGE, 0, one, 0));
            ok(sys::cuMemMap(space + PAGE as u64, PAGE, 0, two, 0));
            assert_eq!(code(sys::cuMemMap(space, PAGE, 0, two, 0)), 1, "taken");
            assert_eq!(code(sys::cuMemsetD32_v2(space, 1, 1)), 1, "no access yet");
            ok(sys::cuMemSetAccess(space, 2 * PAGE, &access, 1));
            // a copy and a kernel across the pages' border
            let border = space + PAGE as u64 - 2048;
            ok(sys::cuMemsetD32_v2(border, 1f32.to_bits(), 1024));
            let x = buffer(&[1f32; 1024]);
            let (a, px, n) = (2f32, x.as_device_ptr(), 1024u32);
            launch(&module(MEMORY_KERNELS), "saxpy", line(1024), args![a, px, border, n]);
            let mut back = [0f32; 1024];
            ok(sys::cuMemcpyDtoH_v2(back.as_mut_ptr().cast(), border, 4096));
            assert_eq!(back, [3f32; 1024]);
            // the second page elsewhere: its contents go with it
            ok(sys::cuMemMap(space + (8 * PAGE) as u64, PAGE, 0, two, 0));
            ok(sys::cuMemSetAccess(space + (8 * PAGE) as u64, PAGE, &access, 1));
            ok(sys::cuMemUnmap(space + PAGE as u64, PAGE));
            ok(sys::cuMemcpyDtoH_v2(back.as_mut_ptr().cast(), space + (8 * PAGE) as u64, 2048));
            assert_eq!(back[0], 3.0);
            assert_eq!(code(sys::cuMemUnmap(space + PAGE as u64, PAGE)), 1);
            assert_eq!(code(sys::cuMemUnmap(space, PAGE / 2)), 1, "not the whole mapping");
            // physical memory goes with its handle and its last mapping
            ok(sys::cuMemRelease(one));
            assert_eq!(code(sys::cuMemRelease(one)), 1);
            assert_eq!(gpu.ledger().physical_bytes, 2 * PAGE as u64);
            ok(sys::cuMemUnmap(space, PAGE));
            assert_eq!(gpu.ledger().physical_bytes, PAGE as u64);
            ok(sys::cuMemUnmap(space + (8 * PAGE) as u64, PAGE));
            assert_eq!(gpu.ledger().physical_bytes, PAGE as u64, "the handle is still there");
            ok(sys::cuMemRelease(two));
            assert_eq!(gpu.ledger().physical_bytes, 0);
            assert_eq!(code(sys::cuMemAddressFree(space, PAGE)), 1, "not the whole reservation");
            ok(sys::cuMemAddressFree(space, 1 << 40));
        }
    }

    /// Addresses with one page mapped, and the page.
    fn mapped(gpu: &Gpu) -> (u64, u64) {
        let (properties, access) = (properties(gpu.ordinal()), access(gpu.ordinal()));
        let (mut space, mut page) = (0, 0);
        // SAFETY: places for the results; numbers that the fake driver looks up.
        unsafe {
            ok(sys::cuMemAddressReserve(&mut space, 2 * PAGE, 0, 0, 0));
            ok(sys::cuMemCreate(&mut page, PAGE, &properties, 0));
            ok(sys::cuMemMap(space, PAGE, 0, page, 0));
            ok(sys::cuMemSetAccess(space, PAGE, &access, 1));
        }
        (space, page)
    }

    #[test]
    fn pages_and_addresses_outlive_their_context() {
        let gpu = gpu();
        let (space, page) = mapped(&gpu);
        let mut value = 0u32;
        // SAFETY: as above.
        unsafe {
            ok(sys::cuMemsetD32_v2(space, 7, 1));
            gpu.reset();
            assert_eq!(gpu.ledger().physical_bytes, PAGE as u64);
            let mut context = ptr::null_mut();
            ok(sys::cuDevicePrimaryCtxRetain(&mut context, gpu.ordinal() as i32));
            ok(sys::cuMemcpyDtoH_v2((&raw mut value).cast(), space, 4));
            assert_eq!(value, 7);
            ok(sys::cuMemUnmap(space, PAGE));
            ok(sys::cuMemRelease(page));
            assert_eq!(gpu.ledger().physical_bytes, 0);
            ok(sys::cuMemAddressFree(space, 2 * PAGE));
            assert_eq!(gpu.ledger().stale, [""; 0]);
            ok(sys::cuDevicePrimaryCtxRelease_v2(gpu.ordinal() as i32));
        }
    }

    #[test]
    fn what_is_unmapped_under_work_breaks_the_context() {
        let gpu = gpu();
        let (space, _) = mapped(&gpu);
        let gate = fake_cuda::hold("saxpy", Some(gpu.ordinal()));
        let (a, x, n) = (1f32, buffer(&[1f32; 16]), 16u32);
        let px = x.as_device_ptr();
        let module = module(MEMORY_KERNELS);
        ok(try_launch(&module, "saxpy", line(16), args![a, px, space, n]));
        gate.wait_for(1);
        // SAFETY: as above.
        unsafe {
            ok(sys::cuMemUnmap(space, PAGE));
            gate.open();
            assert_eq!(code(sys::cuCtxSynchronize()), 700);
        }
        std::mem::forget((x, module));
        gpu.reset();
    }

    #[test]
    fn physical_memory_is_bounded() {
        let gpu = gpu();
        let properties = properties(gpu.ordinal());
        let mut handles = Vec::new();
        loop {
            let mut handle = 0;
            // SAFETY: a place for the result.
            match code(unsafe { sys::cuMemCreate(&mut handle, PAGE, &properties, 0) }) {
                0 => handles.push(handle),
                code => break assert_eq!(code, 2),
            }
        }
        assert_eq!(handles.len() as u64, MEMORY / PAGE as u64);
        assert_eq!(gpu.ledger().physical_handles, handles.len());
        for handle in handles {
            // SAFETY: each is released once.
            ok(unsafe { sys::cuMemRelease(handle) });
        }
    }
}

#[test]
fn devices_have_memory_of_their_own() {
    let (one, two) = (gpu(), gpu());
    assert_ne!(one.ordinal(), two.ordinal());
    one.enter();
    let a = allocate(64).unwrap();
    two.enter();
    let b = allocate(64).unwrap();
    assert_eq!((one.ledger().device_bytes, two.ledger().device_bytes), (64, 64));
    let (mut can, mut peer) = (0, ptr::null_mut());
    // SAFETY: places for the results, and addresses that live.
    unsafe {
        ok(sys::cuDeviceCanAccessPeer(&mut can, one.ordinal() as i32, two.ordinal() as i32));
        assert_eq!(can, 1);
        ok(sys::cuMemsetD8_v2(a, 3, 64));
        ok(sys::cuMemcpyDtoD_v2(b, a, 64));
        ok(sys::cuDevicePrimaryCtxRetain(&mut peer, one.ordinal() as i32));
        ok(sys::cuCtxEnablePeerAccess(peer, 0));
        assert_eq!(code(sys::cuCtxEnablePeerAccess(peer, 0)), 704);
    }
    // a kernel of the second device reaches the first one's memory
    let x = buffer(&[1f32; 16]);
    let (k, px, n) = (1f32, x.as_device_ptr(), 16u32);
    let module = module(MEMORY_KERNELS);
    launch(&module, "saxpy", line(16), args![k, px, a, n]);
    // SAFETY: as above.
    unsafe {
        ok(sys::cuCtxDisablePeerAccess(peer));
        ok(try_launch(&module, "saxpy", line(16), args![k, px, a, n]));
        assert_eq!(code(sys::cuCtxSynchronize()), 700, "without access it is a stray address");
        ok(sys::cuDevicePrimaryCtxRelease_v2(one.ordinal() as i32));
    }
    one.enter();
    assert_eq!(free(a), 0, "the other device is in order");
}
