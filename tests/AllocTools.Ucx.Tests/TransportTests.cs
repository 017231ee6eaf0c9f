using AllocTools.Regions;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Ucx.Tests;

/// <summary>Tests what a context may use, and what it has opened.</summary>
public sealed class TransportTests
{
    [Fact]
    public void TransportsAreFoundInWhatUcxPrints()
    {
        const string Printed = """
            #
            # UCP context
            #
            #     component 1  :  tcp
            #            md 0  :  component 1  tcp
            #
            #      resource 0  :  md 0  dev 0  flags -- tcp/lo
            #      resource 1  :  md 2  dev 1  flags -a rc_verbs/mlx5_0:1
            #
            """;
        Assert.Equal(["tcp/lo", "rc_verbs/mlx5_0:1"], UcxTransports.Parse(Printed));
        Assert.True(UcxTransports.LockPages(UcxTransports.Parse(Printed)));
        Assert.False(UcxTransports.LockPages(["tcp/lo", "posix/memory"]));
        Assert.Empty(UcxTransports.Parse("in another form"));
    }

    [Theory]
    [InlineData(null, "")]
    [InlineData("all", "")]
    [InlineData("^shm", "")]
    [InlineData("tcp, \\sysv", "SYSV")]
    [InlineData("posix", "POSIX")]
    [InlineData("self,shm,posix", "SYSV POSIX")]
    public void SharedMemoryIsAskedForByName(string? list, string expected) => Assert.Equal(expected, string.Join(' ', UcxTransports.SharedMemoryIn(list)));

    [Theory]
    [InlineData("tcp/lo,cma/memory", UcxErrorHandling.None, null, true)]
    [InlineData("xpmem/memory", UcxErrorHandling.None, null, true)]
    [InlineData("tcp/lo,sysv/memory,posix/memory", UcxErrorHandling.None, null, false)]
    [InlineData("tcp/lo,cma/memory", UcxErrorHandling.Peer, null, false)]
    [InlineData("tcp/lo,cma/memory", UcxErrorHandling.Peer, "UCX_CMA_MEMORY_INVALIDATE=n", false)]
    [InlineData("tcp/lo,cma/memory", UcxErrorHandling.Peer, "UCX_CMA_MEMORY_INVALIDATE=y", true)]
    [InlineData("tcp/lo,xpmem/memory", UcxErrorHandling.Peer, "UCX_MM_ERROR_HANDLING=y", true)]
    [InlineData("tcp/lo", UcxErrorHandling.Peer, "UCX_CMA_MEMORY_INVALIDATE=y", false)]
    [InlineData("", UcxErrorHandling.None, null, true)]
    public void PeersCopyByThemselvesWhereTheKernelDoesItForThem(string transports, UcxErrorHandling errorHandling, string? variable, bool expected) => Assert.Equal(
        expected,
        UcxTransports.LetPeersCopy(
            transports.Split(',', StringSplitOptions.RemoveEmptyEntries), errorHandling, name => variable?.Split('=') is [var set, var value] && set == name ? value : null));

    /// <summary>
    /// Another context that requests shared memory by name changes a setting of the process; this context still works
    /// without it.
    /// </summary>
    [Theory]
    [InlineData(null)]
    [InlineData("all")]
    [InlineData("^cma")]
    public unsafe void SharedMemoryThatIsNotAskedForByNameIsLeftOut(string? list)
    {
        using IRmaContext named = UcxFabric.Open(UcxFabric.Any, static o => (o.Transports, o.Devices) = ("posix,sysv", null));
        Assert.Equal("y", AllocTools.Interop.NativeEnvironment.Get("UCX_POSIX_ERROR_HANDLING"));
        using var other = (UcxContext)UcxFabric.Open(UcxFabric.Any, o => (o.Transports, o.Devices) = (list, "lo"));
        IReadOnlyList<string> transports = UcxTransports.Of(other.Library, other.Handle);
        Assert.Contains("tcp/lo", transports);
        Assert.DoesNotContain("posix/memory", transports);
        Assert.DoesNotContain("sysv/memory", transports);
        using var without = (UcxContext)UcxFabric.Open(UcxFabric.Any, o => (o.Transports, o.Devices, o.ErrorHandling) = (list, "lo", UcxErrorHandling.None));
        Assert.Contains("posix/memory", UcxTransports.Of(without.Library, without.Handle));
    }

    [Theory]
    [InlineData(null, "")]
    [InlineData("all", "")]
    [InlineData("lo,mlx5_0", "")]
    [InlineData("mlx5_0:1, eth7", "eth7")]
    [InlineData("eth7,lo,mlx5_0:2", "eth7 mlx5_0:2")]
    [InlineData("^eth7", "")]
    public void DevicesThatAreNotThereAreFound(string? list, string expected) =>
        Assert.Equal(expected, string.Join(' ', UcxDevices.Missing(list, ["self/memory0", "tcp/lo", "rc_verbs/mlx5_0:1"])));
}
