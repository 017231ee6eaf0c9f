using AllocTools.Endpoints;
using AllocTools.Hosting;
using AllocTools.Libfabric.Interop;
using Microsoft.Extensions.DependencyInjection;
using Xunit;

namespace AllocTools.Libfabric.Tests.Faked;

/// <summary>
/// Tests a container, which disposes services in the reverse of the order in which they were first requested,
/// regardless of what they need.
/// </summary>
public sealed class ContainerTeardownTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public static TheoryData<string> Modes => [.. new[] { FakeMode.Tcp, FakeMode.Efa, FakeMode.Cxi, FakeMode.Ucx }.Select(m => m.ToString())];

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task InEveryOrderWithABufferOutAndAReceiveInFlight(string mode)
    {
        FakeMode demanded = FakeMode.Parse(mode);
        foreach (int[] order in Permutations.Of(4))
        {
            using var world = new FakeWorld(demanded);
            ServiceProvider services = Build(world);
            foreach (int wanted in order)
                Ask(services, wanted);
            IRmaMemoryPool left = services.GetRequiredKeyedService<IRmaMemoryPool>("left");
            RmaBuffer rented = services.GetRequiredKeyedService<IRmaMemoryPool>("right").Rent(64);
            RmaBuffer inFlight = left.Rent(64);
            Task<RmaReceiveResult> receiving = services.GetRequiredKeyedService<IRmaEndpoint>("left").ReceiveAsync(inFlight, Timeout.InfiniteTimeSpan, Token).AsTask();
            await services.DisposeAsync();
            Assert.Equal(nameof(FiErrno.FI_ECANCELED), (await Assert.ThrowsAsync<RmaOperationException>(() => receiving)).ErrorName);
            Assert.Equal("", world.Misuse);
            // One registration for each rented buffer.
            Assert.Equal(2, world.OpenRegistrations);
            // These returns are late and throw, but the memory is given back all the same.
            Assert.Throws<ObjectDisposedException>(inFlight.Return);
            Assert.Throws<ObjectDisposedException>(rented.Return);
        }
    }

    private static ServiceProvider Build(FakeWorld world)
    {
        ServiceCollection services = new();
        services.AddLogging();
        services.AddRmaMemoryPool<LibfabricProvider>("left", Configure).ConfigureProvider<LibfabricOptions>(world.CopyOptionsTo);
        IRmaMemoryPoolBuilder right = services.AddRmaMemoryPool<LibfabricProvider>("right", Configure);
        // If registrations are bound to an endpoint, a context has only one.
        if (world.Mode.Is(FiMrMode.FI_MR_ENDPOINT))
            right.ConfigureProvider<LibfabricOptions>(world.CopyOptionsTo);
        else
            right.ShareProviderOf("left");
        return services.BuildServiceProvider();
    }

    private static void Configure(RmaMemoryPoolOptions options) => options.DrainTimeout = TimeSpan.Zero;

    private static object Ask(ServiceProvider services, int wanted) => wanted switch
    {
        0 => services.GetRequiredKeyedService<IRmaMemoryPool>("left"),
        1 => services.GetRequiredKeyedService<IRmaMemoryPool>("right"),
        2 => services.GetRequiredKeyedService<IRmaEndpoint>("left"),
        _ => services.GetRequiredKeyedService<IRmaEndpoint>("right"),
    };
}
