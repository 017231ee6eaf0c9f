using System.Diagnostics.CodeAnalysis;
using AllocTools.Connections;
using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Libfabric;
using AllocTools.Mpi;
using AllocTools.MultiRail;
using AllocTools.Ucx;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace AllocTools.AotSmoke;

/// <summary>Compares the options with appsettings.json, one by one: a trimmed binder would silently leave the defaults.</summary>
internal static class BoundOptions
{
    public static void Check(IServiceProvider services)
    {
        CheckUnnamedPool(OptionsOf<RmaMemoryPoolOptions>(services, Options.DefaultName));
        CheckUnnamedFabric(OptionsOf<LibfabricOptions>(services, Options.DefaultName));
        CheckPeer(OptionsOf<RmaMemoryPoolOptions>(services, PoolNames.Peer), OptionsOf<LibfabricOptions>(services, PoolNames.Peer));
        CheckScratch(OptionsOf<RmaMemoryPoolOptions>(services, PoolNames.Scratch), OptionsOf<HostProviderOptions>(services, PoolNames.Scratch));
        CheckUcx(OptionsOf<UcxOptions>(services, PoolNames.Ucx));
        CheckMpi(OptionsOf<MpiOptions>(services, PoolNames.Mpi));
        CheckConnections(OptionsOf<RmaConnectionOptions>(services, PoolNames.Scratch));
        CheckMultiRail(OptionsOf<RmaMultiRailOptions>(services, RmaMemoryPoolName.Default));
        CheckThird(OptionsOf<ThirdPartyOptions>(services, PoolNames.Third));
    }

    private static void CheckUnnamedPool(RmaMemoryPoolOptions pool)
    {
        Expect.Equal(2, pool.SizeClasses.Count);
        Expect.Equal(4096, pool.SizeClasses[0].BlockSize);
        Expect.Equal(8, pool.SizeClasses[0].InitialBlocks);
        Expect.Equal(65536, pool.SizeClasses[1].BlockSize);
        Expect.Equal(2, pool.SizeClasses[1].InitialBlocks);
        Expect.Equal(64 << 20, pool.MaxRegisteredBytes);
        Expect.Equal(128 << 10, pool.MaxSlabBytes);
        Expect.Equal(8 << 20, pool.MaxIdleDirectBytes);
        Expect.Equal(3 << 20, pool.RegistrationCache.MaxBytes);
        Expect.Equal(33, pool.RegistrationCache.MaxEntries);
        Expect.Equal(TimeSpan.FromMinutes(2), pool.IdleRetention);
        Expect.Equal(TimeSpan.FromSeconds(5), pool.TrimInterval);
        Expect.Equal(RmaHugePages.Off, pool.HugePages);
        Expect.Equal(-1, pool.NumaNode);
        Expect.Equal(RmaAccess.RemoteWrite, pool.Access);
        Expect.Equal(RmaIsolation.PerExposure, pool.Isolation);
        Expect.Equal(TimeSpan.FromSeconds(7), pool.RentTimeout);
        Expect.Equal(TimeSpan.FromSeconds(3), pool.DrainTimeout);
        Expect.Equal(RmaLeakDetection.Sampled, pool.LeakDetection);
        Expect.Equal(true, pool.ClearOnReturn);
    }

    private static void CheckUnnamedFabric(LibfabricOptions fabric)
    {
        Expect.Equal("tcp;ofi_rxm", fabric.Provider);
        Expect.Equal("lo", fabric.Domain);
        Expect.Equal("127.0.0.1", fabric.Node);
        Expect.Equal("127.0.0.1", fabric.AdvertisedNode);
        Expect.Equal("0", fabric.Service);
        Expect.Equal(RmaAccess.Local | RmaAccess.RemoteWrite, fabric.Access);
        Expect.Equal(true, fabric.MrCache);
        Expect.Equal(false, fabric.VirtualAddressing);
        Expect.Equal("libfabric.so.1", fabric.LibraryPath);
        Expect.Equal(1, fabric.Settings.Count);
        Expect.Equal("16", fabric.Settings["FI_UNIVERSE_SIZE"]);
        Expect.Equal(RmaProgress.Endpoint, fabric.Endpoint.Progress);
        Expect.Equal(RmaContinuations.Inline, fabric.Endpoint.Continuations);
        Expect.Equal(TimeSpan.FromSeconds(20), fabric.Endpoint.OperationTimeout);
        Expect.Equal(33, fabric.Endpoint.MaxOutstanding);
        Expect.Equal(3 << 20, fabric.Endpoint.MaxMessageLength);
        Expect.Equal(44, fabric.Endpoint.MaxUnreceivedMessages);
        Expect.Equal(55, fabric.Endpoint.MaxNotifications);
        Expect.Equal(TimeSpan.FromMicroseconds(100), fabric.Endpoint.SpinTime);
        Expect.Equal(TimeSpan.FromMilliseconds(20), fabric.Endpoint.LongestPause);
        Expect.Equal(TimeSpan.FromSeconds(20), fabric.Endpoint.SlowPeerTime);
        Expect.Equal(20, fabric.Endpoint.Retry.MaxRetries);
        Expect.Equal(TimeSpan.FromMilliseconds(20), fabric.Endpoint.Retry.Delay);
        Expect.Equal(TimeSpan.FromMinutes(20), fabric.Endpoint.Retry.MaxDelay);
    }

    private static void CheckPeer(RmaMemoryPoolOptions pool, LibfabricOptions fabric)
    {
        Expect.Equal(RmaAccess.RemoteRead | RmaAccess.RemoteWrite, pool.Access);
        Expect.Equal(1, pool.SizeClasses.Count);
        Expect.Equal(65536, pool.SizeClasses[0].BlockSize);
        Expect.Equal("tcp;ofi_rxm", fabric.Provider);
        Expect.Equal(RmaProgress.Caller, fabric.Endpoint.Progress);
        Expect.Equal(LibfabricCompletionLevel.Transmit, fabric.Endpoint.CompletionLevel);
    }

    private static void CheckScratch(RmaMemoryPoolOptions pool, HostProviderOptions host)
    {
        Expect.Equal(512, pool.SizeClassRange?.From);
        Expect.Equal(2048, pool.SizeClassRange?.To);
        Expect.Equal(2, pool.SizeClassRange?.StepsPerDoubling);
        Expect.Equal(4 << 20, pool.MaxRegisteredBytes);
        Expect.Equal(RmaAccess.RemoteRead | RmaAccess.RemoteWrite, pool.Access);
        Expect.Equal(true, pool.PoisonOnReturn);
        Expect.Equal(true, pool.CheckPointers);
        Expect.Equal(RmaWarmUp.Background, pool.WarmUp);
        Expect.Equal(PageLocking.None, host.Locking);
        Expect.Equal(RmaProgress.Endpoint, host.Endpoint.Progress);
        Expect.Equal(RmaContinuations.Inline, host.Endpoint.Continuations);
        Expect.Equal(TimeSpan.FromSeconds(25), host.Endpoint.OperationTimeout);
        Expect.Equal(55, host.Endpoint.MaxOutstanding);
        Expect.Equal(5 << 20, host.Endpoint.MaxMessageLength);
        Expect.Equal(66, host.Endpoint.MaxNotifications);
        Expect.Equal(TimeSpan.FromMicroseconds(7), host.Endpoint.SpinTime);
        Expect.Equal(TimeSpan.FromMilliseconds(30), host.Endpoint.LongestPause);
        Expect.Equal(TimeSpan.FromSeconds(30), host.Endpoint.SlowPeerTime);
        Expect.Equal(30, host.Endpoint.Retry.MaxRetries);
        Expect.Equal(TimeSpan.FromMilliseconds(30), host.Endpoint.Retry.Delay);
        Expect.Equal(TimeSpan.FromMinutes(30), host.Endpoint.Retry.MaxDelay);
    }

    private static void CheckUcx(UcxOptions ucx)
    {
        Expect.Equal("self,tcp", ucx.Transports);
        Expect.Equal("lo", ucx.Devices);
        Expect.Equal(UcxErrorHandling.None, ucx.ErrorHandling);
        Expect.Equal(TimeSpan.FromSeconds(3), ucx.KeepaliveInterval);
        Expect.Equal("libucp.so.0", ucx.LibraryPath);
        Expect.Equal(1, ucx.Settings.Count);
        Expect.Equal("n", ucx.Settings["UCX_WARN_UNUSED_ENV_VARS"]);
        Expect.Equal(RmaContinuations.Inline, ucx.Endpoint.Continuations);
        Expect.Equal(TimeSpan.FromSeconds(15), ucx.Endpoint.OperationTimeout);
        Expect.Equal(66, ucx.Endpoint.MaxOutstanding);
        Expect.Equal(4 << 20, ucx.Endpoint.MaxMessageLength);
        Expect.Equal(77, ucx.Endpoint.MaxNotifications);
        Expect.Equal(TimeSpan.FromMicroseconds(8), ucx.Endpoint.SpinTime);
        Expect.Equal(TimeSpan.FromMilliseconds(40), ucx.Endpoint.LongestPause);
        Expect.Equal(TimeSpan.FromSeconds(40), ucx.Endpoint.SlowPeerTime);
        Expect.Equal(40, ucx.Endpoint.Retry.MaxRetries);
        Expect.Equal(TimeSpan.FromMilliseconds(40), ucx.Endpoint.Retry.Delay);
        Expect.Equal(TimeSpan.FromMinutes(40), ucx.Endpoint.Retry.MaxDelay);
    }

    private static void CheckMpi(MpiOptions mpi)
    {
        Expect.Equal(MpiImplementation.Mpich, mpi.Implementation);
        Expect.Equal("libmpich.so.12", mpi.LibraryPath);
        Expect.Equal(TimeSpan.FromSeconds(50), mpi.StartTimeout);
        Expect.Equal(TimeSpan.FromSeconds(20), mpi.EndTimeout);
        Expect.Equal(1, mpi.Settings.Count);
        Expect.Equal("0", mpi.Settings["MPIR_CVAR_DEBUG_SUMMARY"]);
        Expect.Equal(RmaContinuations.Inline, mpi.Endpoint.Continuations);
        Expect.Equal(TimeSpan.FromSeconds(16), mpi.Endpoint.OperationTimeout);
        Expect.Equal(67, mpi.Endpoint.MaxOutstanding);
        Expect.Equal(3 << 20, mpi.Endpoint.MaxMessageLength);
        Expect.Equal(78, mpi.Endpoint.MaxNotifications);
        Expect.Equal(TimeSpan.FromMicroseconds(9), mpi.Endpoint.SpinTime);
        Expect.Equal(TimeSpan.FromMilliseconds(50), mpi.Endpoint.LongestPause);
        Expect.Equal(TimeSpan.FromSeconds(50), mpi.Endpoint.SlowPeerTime);
        Expect.Equal(50, mpi.Endpoint.Retry.MaxRetries);
        Expect.Equal(TimeSpan.FromMilliseconds(50), mpi.Endpoint.Retry.Delay);
        Expect.Equal(TimeSpan.FromMinutes(50), mpi.Endpoint.Retry.MaxDelay);
    }

    private static void CheckConnections(RmaConnectionOptions connections)
    {
        Expect.Equal(2048, connections.InitialRingBytes);
        Expect.Equal(8192, connections.MaxRingBytes);
        Expect.Equal(TimeSpan.FromSeconds(9), connections.IdleShrinkAfter);
        Expect.Equal(16384, connections.PauseWriterBytes);
        Expect.Equal(RmaContinuations.Inline, connections.Continuations);
        Expect.Equal(TimeSpan.FromSeconds(8), connections.SetUpTimeout);
        Expect.Equal(TimeSpan.FromSeconds(1), connections.HeartbeatInterval);
        Expect.Equal(TimeSpan.FromSeconds(6), connections.PeerTimeout);
        Expect.Equal(TimeSpan.FromSeconds(4), connections.CloseTimeout);
        Expect.Equal(7, connections.Backlog);
        Expect.Equal(17, connections.MaxConnections);
        Expect.Equal(PoolNames.Ucx, connections.LocalPool);
        Expect.Equal(true, connections.LocalFallback);
        Expect.Equal(true, connections.CopyInput);
        Expect.Equal(RmaIntegrity.XxHash3, connections.Integrity);
    }

    private static void CheckMultiRail(RmaMultiRailOptions rails)
    {
        Expect.Equal(2, rails.Rails.Count);
        Expect.Equal("first", rails.Rails[0].Name);
        Expect.Equal(PoolNames.Scratch, rails.Rails[0].Pool);
        Expect.Equal("second", rails.Rails[1].Name);
        Expect.Equal(PoolNames.Third, rails.Rails[1].Pool);
        Expect.Equal(RmaRailPolicy.Failover, rails.Policy);
        Expect.Equal(8 << 10, rails.StripeLength);
        Expect.Equal(7, rails.StripesPerRail);
        Expect.Equal(TimeSpan.FromSeconds(8), rails.StripeTimeout);
        Expect.Equal(TimeSpan.FromSeconds(60), rails.TransferTimeout);
        Expect.Equal(TimeSpan.FromMilliseconds(60), rails.Delay);
        Expect.Equal(TimeSpan.FromMinutes(60), rails.MaxDelay);
        Expect.Equal(TimeSpan.FromSeconds(6), rails.LateWriteTime);
    }

    private static void CheckThird(ThirdPartyOptions options)
    {
        Expect.Equal("third", options.Label);
        Expect.Equal(PageLocking.None, options.Locking);
        Expect.Equal(2, options.Limits.Count);
        Expect.Equal(8192, options.Limits[1].Bytes);
        Expect.Equal("b", options.Labels["a"]);
        Expect.Equal(TimeSpan.FromMicroseconds(20), options.Endpoint.SpinTime);
    }

    private static TOptions OptionsOf<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicParameterlessConstructor)] TOptions>(
        IServiceProvider services, string name)
        where TOptions : class => services.GetRequiredService<IOptionsMonitor<TOptions>>().Get(name);
}
