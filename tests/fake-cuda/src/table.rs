//! The table of entry points: the driver's names and signatures, and the function that serves each.

/// Hands all entry points to the macro `$apply`, as `name(argument: type, …) => body;`.
///
/// The bodies are in [`api`](crate::api). The types are those of [`abi`](crate::abi), of `cust_raw` and
/// of `std::ffi`, which must be in scope where they are used. What is not in the table is not there for a program either.
#[doc(hidden)]
#[macro_export]
macro_rules! entry_points {
    ($apply:ident) => {
        $apply! {
            cuInit(flags: c_uint) => driver::init;
            cuDriverGetVersion(version: Out<c_int>) => driver::version;
            cuGetErrorName(error: Raw<CUresult>, text: Out<*const c_char>) => driver::error_name;
            cuGetErrorString(error: Raw<CUresult>, text: Out<*const c_char>) => driver::error_string;

            cuDeviceGet(device: Out<CUdevice>, ordinal: c_int) => devices::get;
            cuDeviceGetCount(count: Out<c_int>) => devices::count;
            cuDeviceGetName(name: TextOut, length: c_int, device: Ordinal) => devices::name;
            cuDeviceGetUuid(uuid: Out<CUuuid>, device: Ordinal) => devices::uuid;
            cuDeviceGetUuid_v2(uuid: Out<CUuuid>, device: Ordinal) => devices::uuid;
            cuDeviceGetPCIBusId(id: TextOut, length: c_int, device: Ordinal) => devices::pci_bus_id;
            cuDeviceGetByPCIBusId(device: Out<CUdevice>, id: Text) => devices::by_pci_bus_id;
            cuDeviceTotalMem_v2(bytes: Out<usize>, device: Ordinal) => devices::total_memory;
            cuDeviceGetAttribute(value: Out<c_int>, attribute: Raw<CUdevice_attribute>, device: Ordinal) => devices::attribute;
            cuDeviceCanAccessPeer(can: Out<c_int>, device: Ordinal, peer: Ordinal) => devices::can_access_peer;
            cuDevicePrimaryCtxRetain(context: Out<CUcontext>, device: Ordinal) => devices::retain;
            cuDevicePrimaryCtxRelease_v2(device: Ordinal) => devices::release;
            cuDevicePrimaryCtxReset_v2(device: Ordinal) => devices::reset;
            cuDevicePrimaryCtxSetFlags_v2(device: Ordinal, flags: c_uint) => devices::set_flags;
            cuDevicePrimaryCtxGetState(device: Ordinal, flags: Out<c_uint>, active: Out<c_int>) => devices::state;

            cuCtxPushCurrent_v2(context: Handle<CUctx_st>) => contexts::push;
            cuCtxPopCurrent_v2(context: Out<CUcontext>) => contexts::pop;
            cuCtxSetCurrent(context: Handle<CUctx_st>) => contexts::set;
            cuCtxGetCurrent(context: Out<CUcontext>) => contexts::get;
            cuCtxGetDevice(device: Out<CUdevice>) => contexts::device;
            cuCtxGetFlags(flags: Out<c_uint>) => contexts::flags;
            cuCtxGetApiVersion(context: Handle<CUctx_st>, version: Out<c_uint>) => contexts::api_version;
            cuCtxSynchronize() => contexts::synchronize;
            cuCtxGetStreamPriorityRange(least: Out<c_int>, greatest: Out<c_int>) => contexts::priority_range;
            cuCtxGetLimit(value: Out<usize>, limit: Raw<CUlimit>) => contexts::limit;
            cuCtxSetLimit(limit: Raw<CUlimit>, value: usize) => contexts::set_limit;
            cuCtxGetCacheConfig(config: OutRaw<CUfunc_cache>) => contexts::cache_config;
            cuCtxSetCacheConfig(config: Raw<CUfunc_cache>) => contexts::set_cache_config;
            cuCtxGetSharedMemConfig(config: OutRaw<CUsharedconfig>) => contexts::shared_config;
            cuCtxSetSharedMemConfig(config: Raw<CUsharedconfig>) => contexts::set_shared_config;
            cuCtxEnablePeerAccess(peer: Handle<CUctx_st>, flags: c_uint) => contexts::enable_peer;
            cuCtxDisablePeerAccess(peer: Handle<CUctx_st>) => contexts::disable_peer;
            cuThreadExchangeStreamCaptureMode(mode: OutRaw<CUstreamCaptureMode>) => contexts::exchange_capture_mode;

            cuMemGetInfo_v2(free: Out<usize>, total: Out<usize>) => memory::info;
            cuMemAlloc_v2(address: Out<CUdeviceptr>, bytes: usize) => memory::allocate;
            cuMemAllocPitch_v2(address: Out<CUdeviceptr>, pitch: Out<usize>, width: usize, height: usize, element: c_uint) => memory::allocate_pitch;
            cuMemFree_v2(address: CUdeviceptr) => memory::free;
            cuMemGetAddressRange_v2(base: Out<CUdeviceptr>, bytes: Out<usize>, address: CUdeviceptr) => memory::address_range;
            cuPointerGetAttribute(data: Host, attribute: Raw<CUpointer_attribute>, address: CUdeviceptr) => pointers::attribute;
            cuPointerGetAttributes(count: c_uint, attributes: OutRaw<CUpointer_attribute>, data: Out<*mut c_void>, address: CUdeviceptr) => pointers::attributes;

            cuMemAllocHost_v2(pointer: Out<*mut c_void>, bytes: usize) => host_memory::allocate_host;
            cuMemHostAlloc(pointer: Out<*mut c_void>, bytes: usize, flags: c_uint) => host_memory::allocate;
            cuMemFreeHost(pointer: Host) => host_memory::free;
            cuMemHostRegister_v2(pointer: Host, bytes: usize, flags: c_uint) => host_memory::register;
            cuMemHostUnregister(pointer: Host) => host_memory::unregister;
            cuMemHostGetDevicePointer_v2(address: Out<CUdeviceptr>, pointer: Host, flags: c_uint) => host_memory::device_pointer;
            cuMemHostGetFlags(flags: Out<c_uint>, pointer: Host) => host_memory::flags;
            cuMemAllocManaged(address: Out<CUdeviceptr>, bytes: usize, flags: c_uint) => host_memory::allocate_managed;
            cuMemPrefetchAsync(address: CUdeviceptr, bytes: usize, device: Ordinal, stream: Handle<CUstream_st>) => host_memory::prefetch;
            cuMemAdvise(address: CUdeviceptr, bytes: usize, advice: Raw<CUmem_advise>, device: Ordinal) => host_memory::advise;

            cuMemcpy(to: CUdeviceptr, from: CUdeviceptr, bytes: usize) => transfers::unified;
            cuMemcpyAsync(to: CUdeviceptr, from: CUdeviceptr, bytes: usize, stream: Handle<CUstream_st>) => transfers::unified_async;
            cuMemcpyHtoD_v2(to: CUdeviceptr, from: ConstHost, bytes: usize) => transfers::host_to_device;
            cuMemcpyHtoDAsync_v2(to: CUdeviceptr, from: ConstHost, bytes: usize, stream: Handle<CUstream_st>) => transfers::host_to_device_async;
            cuMemcpyDtoH_v2(to: Host, from: CUdeviceptr, bytes: usize) => transfers::device_to_host;
            cuMemcpyDtoHAsync_v2(to: Host, from: CUdeviceptr, bytes: usize, stream: Handle<CUstream_st>) => transfers::device_to_host_async;
            cuMemcpyDtoD_v2(to: CUdeviceptr, from: CUdeviceptr, bytes: usize) => transfers::device_to_device;
            cuMemcpyDtoDAsync_v2(to: CUdeviceptr, from: CUdeviceptr, bytes: usize, stream: Handle<CUstream_st>) => transfers::device_to_device_async;
            cuMemcpyPeer(to: CUdeviceptr, to_context: Handle<CUctx_st>, from: CUdeviceptr, from_context: Handle<CUctx_st>, bytes: usize) => transfers::peer;
            cuMemcpyPeerAsync(to: CUdeviceptr, to_context: Handle<CUctx_st>, from: CUdeviceptr, from_context: Handle<CUctx_st>, bytes: usize, stream: Handle<CUstream_st>) => transfers::peer_async;
            cuMemcpy2D_v2(copy: InAs<CUDA_MEMCPY2D, Copy2d>) => transfers::rows_now;
            cuMemcpy2DUnaligned_v2(copy: InAs<CUDA_MEMCPY2D, Copy2d>) => transfers::rows_now;
            cuMemcpy2DAsync_v2(copy: InAs<CUDA_MEMCPY2D, Copy2d>, stream: Handle<CUstream_st>) => transfers::rows_async;
            cuMemsetD8_v2(to: CUdeviceptr, value: c_uchar, count: usize) => transfers::fill_bytes;
            cuMemsetD16_v2(to: CUdeviceptr, value: c_ushort, count: usize) => transfers::fill_halves;
            cuMemsetD32_v2(to: CUdeviceptr, value: c_uint, count: usize) => transfers::fill_words;
            cuMemsetD8Async(to: CUdeviceptr, value: c_uchar, count: usize, stream: Handle<CUstream_st>) => transfers::fill_bytes_async;
            cuMemsetD16Async(to: CUdeviceptr, value: c_ushort, count: usize, stream: Handle<CUstream_st>) => transfers::fill_halves_async;
            cuMemsetD32Async(to: CUdeviceptr, value: c_uint, count: usize, stream: Handle<CUstream_st>) => transfers::fill_words_async;

            cuMemAllocAsync(address: Out<CUdeviceptr>, bytes: usize, stream: Handle<CUstream_st>) => pools::allocate;
            cuMemAllocFromPoolAsync(address: Out<CUdeviceptr>, bytes: usize, pool: Handle<CUmemPoolHandle_st>, stream: Handle<CUstream_st>) => pools::allocate_from_pool;
            cuMemFreeAsync(address: CUdeviceptr, stream: Handle<CUstream_st>) => pools::free;
            cuMemPoolCreate(pool: Out<CUmemoryPool>, properties: InAs<CUmemPoolProps, PoolProperties>) => pools::create;
            cuMemPoolDestroy(pool: Handle<CUmemPoolHandle_st>) => pools::destroy;
            cuMemPoolTrimTo(pool: Handle<CUmemPoolHandle_st>, keep: usize) => pools::trim;
            cuMemPoolGetAttribute(pool: Handle<CUmemPoolHandle_st>, attribute: Raw<CUmemPool_attribute>, value: Host) => pools::attribute;
            cuMemPoolSetAttribute(pool: Handle<CUmemPoolHandle_st>, attribute: Raw<CUmemPool_attribute>, value: Host) => pools::set_attribute;
            cuDeviceGetDefaultMemPool(pool: Out<CUmemoryPool>, device: Ordinal) => pools::default_pool;
            cuDeviceGetMemPool(pool: Out<CUmemoryPool>, device: Ordinal) => pools::current_pool;
            cuDeviceSetMemPool(device: Ordinal, pool: Handle<CUmemPoolHandle_st>) => pools::set_current_pool;

            cuMemGetAllocationGranularity(bytes: Out<usize>, properties: InAs<CUmemAllocationProp, AllocationProperties>, which: Raw<CUmemAllocationGranularity_flags>) => virtual_memory::granularity;
            cuMemAddressReserve(address: Out<CUdeviceptr>, bytes: usize, align: usize, wish: CUdeviceptr, flags: c_ulonglong) => virtual_memory::reserve;
            cuMemAddressFree(address: CUdeviceptr, bytes: usize) => virtual_memory::unreserve;
            cuMemCreate(handle: Out<CUmemGenericAllocationHandle>, bytes: usize, properties: InAs<CUmemAllocationProp, AllocationProperties>, flags: c_ulonglong) => virtual_memory::create;
            cuMemRelease(handle: CUmemGenericAllocationHandle) => virtual_memory::release;
            cuMemMap(address: CUdeviceptr, bytes: usize, offset: usize, handle: CUmemGenericAllocationHandle, flags: c_ulonglong) => virtual_memory::map;
            cuMemUnmap(address: CUdeviceptr, bytes: usize) => virtual_memory::unmap;
            cuMemSetAccess(address: CUdeviceptr, bytes: usize, access: InAs<CUmemAccessDesc, AccessDescription>, count: usize) => virtual_memory::set_access;
            cuMemGetAccess(flags: Out<c_ulonglong>, location: InAs<CUmemLocation, Location>, address: CUdeviceptr) => virtual_memory::access;

            cuModuleLoad(module: Out<CUmodule>, path: Text) => modules::load_file;
            cuModuleLoadData(module: Out<CUmodule>, image: ConstHost) => modules::load_data;
            cuModuleLoadDataEx(module: Out<CUmodule>, image: ConstHost, count: c_uint, options: OutRaw<CUjit_option>, values: Out<*mut c_void>) => modules::load_data_ex;
            cuModuleUnload(module: Handle<CUmod_st>) => modules::unload;
            cuModuleGetFunction(function: Out<CUfunction>, module: Handle<CUmod_st>, name: Text) => modules::function;
            cuModuleGetGlobal_v2(address: Out<CUdeviceptr>, bytes: Out<usize>, module: Handle<CUmod_st>, name: Text) => modules::global;
            cuFuncGetModule(module: Out<CUmodule>, function: Handle<CUfunc_st>) => modules::module_of;
            cuFuncGetAttribute(value: Out<c_int>, attribute: Raw<CUfunction_attribute>, function: Handle<CUfunc_st>) => modules::attribute;
            cuFuncSetAttribute(function: Handle<CUfunc_st>, attribute: Raw<CUfunction_attribute>, value: c_int) => modules::set_attribute;
            cuFuncSetCacheConfig(function: Handle<CUfunc_st>, config: Raw<CUfunc_cache>) => modules::set_cache_config;
            cuFuncSetSharedMemConfig(function: Handle<CUfunc_st>, config: Raw<CUsharedconfig>) => modules::set_shared_config;
            cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks: Out<c_int>, function: Handle<CUfunc_st>, threads: c_int, shared: usize) => modules::active_blocks;
            cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks: Out<c_int>, function: Handle<CUfunc_st>, threads: c_int, shared: usize, flags: c_uint) => modules::active_blocks_with_flags;
            cuOccupancyMaxPotentialBlockSize(grid: Out<c_int>, block: Out<c_int>, function: Handle<CUfunc_st>, shared_by_size: CUoccupancyB2DSize, shared: usize, limit: c_int) => modules::potential_block_size;
            cuOccupancyAvailableDynamicSMemPerBlock(bytes: Out<usize>, function: Handle<CUfunc_st>, blocks: c_int, threads: c_int) => modules::available_dynamic_shared;

            cuLaunchKernel(function: Handle<CUfunc_st>, grid_x: c_uint, grid_y: c_uint, grid_z: c_uint, block_x: c_uint, block_y: c_uint, block_z: c_uint, shared: c_uint, stream: Handle<CUstream_st>, arguments: Out<*mut c_void>, extra: Out<*mut c_void>) => launches::kernel;
            cuLaunchCooperativeKernel(function: Handle<CUfunc_st>, grid_x: c_uint, grid_y: c_uint, grid_z: c_uint, block_x: c_uint, block_y: c_uint, block_z: c_uint, shared: c_uint, stream: Handle<CUstream_st>, arguments: Out<*mut c_void>) => launches::cooperative_kernel;
            cuLaunchHostFunc(stream: Handle<CUstream_st>, function: CUhostFn, data: Host) => launches::host_function;

            cuStreamCreate(stream: Out<CUstream>, flags: c_uint) => streams::create;
            cuStreamCreateWithPriority(stream: Out<CUstream>, flags: c_uint, priority: c_int) => streams::create_with_priority;
            cuStreamDestroy_v2(stream: Handle<CUstream_st>) => streams::destroy;
            cuStreamGetFlags(stream: Handle<CUstream_st>, flags: Out<c_uint>) => streams::flags;
            cuStreamGetPriority(stream: Handle<CUstream_st>, priority: Out<c_int>) => streams::priority;
            cuStreamGetCtx(stream: Handle<CUstream_st>, context: Out<CUcontext>) => streams::context;
            cuStreamSynchronize(stream: Handle<CUstream_st>) => streams::synchronize;
            cuStreamQuery(stream: Handle<CUstream_st>) => streams::query;
            cuStreamAddCallback(stream: Handle<CUstream_st>, callback: Callback, data: Host, flags: c_uint) => streams::add_callback;
            cuStreamWriteValue32(stream: Handle<CUstream_st>, address: CUdeviceptr, value: c_uint, flags: c_uint) => streams::write_value32;
            cuStreamWriteValue64(stream: Handle<CUstream_st>, address: CUdeviceptr, value: u64, flags: c_uint) => streams::write_value64;
            cuStreamWaitValue32(stream: Handle<CUstream_st>, address: CUdeviceptr, value: c_uint, flags: c_uint) => streams::wait_value32;
            cuStreamWaitValue64(stream: Handle<CUstream_st>, address: CUdeviceptr, value: u64, flags: c_uint) => streams::wait_value64;
            cuStreamWaitEvent(stream: Handle<CUstream_st>, event: Handle<CUevent_st>, flags: c_uint) => events::wait;
            cuStreamBeginCapture_v2(stream: Handle<CUstream_st>, mode: Raw<CUstreamCaptureMode>) => streams::begin_capture;
            cuStreamIsCapturing(stream: Handle<CUstream_st>, status: OutRaw<CUstreamCaptureStatus>) => streams::is_capturing;
            cuStreamEndCapture(stream: Handle<CUstream_st>, graph: Out<CUgraph>) => streams::end_capture;

            cuEventCreate(event: Out<CUevent>, flags: c_uint) => events::create;
            cuEventDestroy_v2(event: Handle<CUevent_st>) => events::destroy;
            cuEventRecord(event: Handle<CUevent_st>, stream: Handle<CUstream_st>) => events::record;
            cuEventRecordWithFlags(event: Handle<CUevent_st>, stream: Handle<CUstream_st>, flags: c_uint) => events::record_with_flags;
            cuEventQuery(event: Handle<CUevent_st>) => events::query;
            cuEventSynchronize(event: Handle<CUevent_st>) => events::synchronize;
            cuEventElapsedTime(milliseconds: Out<c_float>, start: Handle<CUevent_st>, end: Handle<CUevent_st>) => events::elapsed;

            cuGraphCreate(graph: Out<CUgraph>, flags: c_uint) => graphs::create;
            cuGraphDestroy(graph: Handle<CUgraph_st>) => graphs::destroy;
            cuGraphAddKernelNode(node: Out<CUgraphNode>, graph: Handle<CUgraph_st>, after: In<CUgraphNode>, count: usize, kernel: In<CUDA_KERNEL_NODE_PARAMS>) => graphs::add_kernel_node;
            cuGraphGetNodes(graph: Handle<CUgraph_st>, nodes: Out<CUgraphNode>, count: Out<usize>) => graphs::nodes;
            cuGraphGetEdges(graph: Handle<CUgraph_st>, from: Out<CUgraphNode>, to: Out<CUgraphNode>, count: Out<usize>) => graphs::edges;
            cuGraphNodeGetType(node: Handle<CUgraphNode_st>, kind: OutRaw<CUgraphNodeType>) => graphs::node_type;
            cuGraphInstantiate_v2(exec: Out<CUgraphExec>, graph: Handle<CUgraph_st>, error: Out<CUgraphNode>, log: *mut c_char, room: usize) => graphs::instantiate;
            cuGraphInstantiateWithFlags(exec: Out<CUgraphExec>, graph: Handle<CUgraph_st>, flags: c_ulonglong) => graphs::instantiate_with_flags;
            cuGraphLaunch(exec: Handle<CUgraphExec_st>, stream: Handle<CUstream_st>) => graphs::launch;
            cuGraphExecDestroy(exec: Handle<CUgraphExec_st>) => graphs::destroy_exec;
        }
    };
}
