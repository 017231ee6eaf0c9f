using AllocTools.Endpoints;
using AllocTools.Libfabric.Interop;
using Xunit;

namespace AllocTools.Libfabric.Tests.Faked;

/// <summary>
/// Tests that the fake refuses what fi_mr(3), fi_domain(3) and fi_rma(3) forbid: without this, the other tests would
/// prove little.
/// </summary>
public sealed class FakeRulesTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(4)]
    [InlineData(7)]
    public void AKeyThatIsTooWideAndOneInUseAreRefused(int keySize)
    {
        using var world = new FakeWorld(new FakeMode(0, keySize));
        using FakeNatives natives = new(world);
        ulong last = (1UL << (8 * keySize)) - 1;
        Assert.Equal(-FiErrno.FI_EKEYREJECTED, natives.Register(last + 1, out _));
        Assert.Equal(0, natives.Register(last, out MrHandle? first));
        Assert.Equal(-FiErrno.FI_ENOKEY, natives.Register(last, out _));
        first!.Dispose();
        Assert.Equal(0, natives.Register(last, out MrHandle? again));
        again!.Dispose();
    }

    [Fact]
    public void ABoundRegistrationHasNoKeyBeforeItIsEnabled()
    {
        using var world = new FakeWorld(new FakeMode(FiMrMode.FI_MR_ENDPOINT, 8));
        using FakeNatives natives = new(world);
        Assert.Equal(0, natives.Register(7, out MrHandle? registration));
        Assert.Equal(FiConstants.FI_KEY_NOTAVAIL, registration!.Key);
        Assert.Equal(-FiErrno.FI_EINVAL, registration.Enable());
        registration.Dispose();
        Assert.Contains("fi_mr_enable", world.TakeMisuse(), StringComparison.Ordinal);
    }

    [Fact]
    public void PagesThatAreNotBackedAreRefused()
    {
        using var world = new FakeWorld(new FakeMode(FiMrMode.FI_MR_ALLOCATED, 8));
        using FakeNatives natives = new(world, touch: false);
        Assert.Equal(-FiErrno.FI_EFAULT, natives.Register(1, out _));
        Assert.Contains("not backed", world.TakeMisuse(), StringComparison.Ordinal);
    }

    [Fact]
    public unsafe void ADomainIsNotClosedBeforeItsChildrenNorUsedAfterIt()
    {
        using var world = new FakeWorld(FakeMode.Tcp);
        using FakeNatives natives = new(world);
        Assert.Equal(0, natives.Register(1, out MrHandle? registration));
        fid* domain = &natives.Domain.Pointer->fid;
        Assert.Equal(-FiErrno.FI_EBUSY, domain->ops->close(domain));
        Assert.Contains("1 open children", world.TakeMisuse(), StringComparison.Ordinal);
        Assert.Equal(-FiErrno.FI_EBUSY, domain->ops->close(domain));
        Assert.Contains("once more", world.TakeMisuse(), StringComparison.Ordinal);
        fid* closed = &registration!.Pointer->fid;
        registration.Dispose();
        Assert.Equal(-FiErrno.FI_EBADF, closed->ops->close(closed));
        Assert.Contains("closed mr", world.TakeMisuse(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task OperationsBeyondWhatIsRegisteredOrGrantedFailAndChangeNothing()
    {
        using var world = new FakeWorld(FakeMode.Tcp);
        await using var pair = new EndpointPair(world.Name);
        using RmaBuffer target = pair.Right.Pool.Rent(4096);
        using RmaBuffer source = pair.Left.Pool.Rent(4096);
        source.Span.Fill(1);
        target.Span.Clear();
        using (RmaExposure exposure = target.Expose(RmaAccess.RemoteRead | RmaAccess.RemoteWrite))
        {
            RemoteMemory[] lies =
            [
                new(exposure.Remote.Address + (1 << 30), 4096, exposure.Remote.Key, RmaAccess.RemoteWrite),
                new(exposure.Remote.Address + (1 << 20), 4096, exposure.Remote.Key, RmaAccess.RemoteWrite),
                new(exposure.Remote.Address, 4096, exposure.Remote.Key + 1, RmaAccess.RemoteWrite),
            ];
            foreach (RemoteMemory lie in lies)
            {
                using RemoteRegion region = pair.Left.Endpoint.Import(pair.Left.Peer, lie);
                RmaOperationException error = await Assert.ThrowsAsync<RmaOperationException>(() => pair.Left.Endpoint.WriteAsync(source, region, cancellationToken: Token).AsTask());
                Assert.Equal(nameof(FiErrno.FI_EACCES), error.ErrorName);
            }
        }
        Assert.False(target.Span.ContainsAnyExcept((byte)0));
    }

    [Fact]
    public async Task RemoteAccessThatIsNotGrantedIsRefused()
    {
        using var world = new FakeWorld(FakeMode.Tcp);
        await using var pair = new EndpointPair(world.Name, configurePool: o => o.Access = RmaAccess.RemoteRead);
        using RmaBuffer target = pair.Right.Pool.Rent(64);
        using RmaBuffer source = pair.Left.Pool.Rent(64);
        target.Span.Clear();
        source.Span.Fill(1);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteRead);
        // A peer that ignores the rights it was granted would do this.
        using RemoteRegion region = pair.Left.Endpoint.Import(
            pair.Left.Peer, new RemoteMemory(exposure.Remote.Address, 64, exposure.Remote.Key, RmaAccess.RemoteWrite | RmaAccess.RemoteRead));
        await pair.Left.Endpoint.ReadAsync(source, region, cancellationToken: Token);
        RmaOperationException error = await Assert.ThrowsAsync<RmaOperationException>(() => pair.Left.Endpoint.WriteAsync(source, region, cancellationToken: Token).AsTask());
        Assert.Equal(nameof(FiErrno.FI_EACCES), error.ErrorName);
        Assert.False(target.Span.ContainsAnyExcept((byte)0));
    }

    [Fact]
    public unsafe void AnOperationWithoutADescriptorIsRefused()
    {
        using var world = new FakeWorld(new FakeMode(FiMrMode.FI_MR_LOCAL, 8));
        using FakeNatives natives = new(world);
        using LibfabricEndpointResources endpoint = natives.OpenEndpoint();
        Assert.Equal(0, natives.Register(1, out MrHandle? registration));
        void* context = natives.Memory;
        Assert.Equal(-FiErrno.FI_EINVAL, endpoint.Endpoint.Receive(natives.Memory, 64, null, FiConstants.FI_ADDR_UNSPEC, context));
        Assert.Contains("without a descriptor", world.TakeMisuse(), StringComparison.Ordinal);
        Assert.Equal(-FiErrno.FI_EINVAL, endpoint.Endpoint.Receive(natives.Memory, FakeNatives.Length + 1, registration!.Descriptor, FiConstants.FI_ADDR_UNSPEC, context));
        Assert.Contains("beyond its registration", world.TakeMisuse(), StringComparison.Ordinal);
        Assert.Equal(0, endpoint.Endpoint.Receive(natives.Memory, 64, registration.Descriptor, FiConstants.FI_ADDR_UNSPEC, context));
        registration.Dispose();
        Assert.Contains("under an operation", world.TakeMisuse(), StringComparison.Ordinal);
    }
}
