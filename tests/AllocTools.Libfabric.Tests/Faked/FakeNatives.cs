using AllocTools.Blocks;
using AllocTools.Libfabric.Interop;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace AllocTools.Libfabric.Tests.Faked;

/// <summary>A page of memory, a fabric and a domain, opened through the binding alone.</summary>
internal sealed unsafe class FakeNatives : IDisposable
{
    public const int Length = 4096;

    private readonly LibfabricOptions _options;
    private readonly LibfabricLibrary _library;
    private readonly InfoHandle _info;
    private readonly FabricHandle _fabric;

    public FakeNatives(FakeWorld world, bool touch = true)
    {
        _options = world.Options();
        _library = LibfabricLibrary.TryLoad(_options.LibraryPath, out _)!;
        _info = LibfabricDiscovery.Find(_library, _options);
        Assert.Equal(0, _library.OpenFabric(_info.Info->fabric_attr, out FabricHandle? fabric));
        _fabric = fabric!;
        Assert.Equal(0, _fabric.OpenDomain(_info.Info, out DomainHandle? domain));
        Domain = domain!;
        Memory = (void*)new PageAllocator().Allocate(Length, populate: touch);
    }

    public DomainHandle Domain { get; }

    public void* Memory { get; }

    public LibfabricEndpointResources OpenEndpoint() =>
        LibfabricEndpointResources.Open(_library, _info, _fabric, Domain, "fake", _options, NullLogger.Instance);

    public int Register(ulong key, out MrHandle? registration)
    {
        iovec range = new() { iov_base = Memory, iov_len = Length };
        fi_mr_attr attributes = new() { mr_iov = &range, iov_count = 1, access = FiCaps.FI_RECV, requested_key = key };
        return Domain.RegisterMemory(&attributes, 0, out registration);
    }

    public void Dispose()
    {
        Domain.Dispose();
        _fabric.Dispose();
        _info.Dispose();
        new PageAllocator().Free((nint)Memory, Length);
    }
}
