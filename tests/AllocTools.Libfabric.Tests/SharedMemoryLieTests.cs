using AllocTools.Interop;
using AllocTools.Testing;
using AllocTools.Testing.Lies;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>Tests a peer on shm that lies about the memory that it was given.</summary>
public sealed class SharedMemoryLieTests
{
    /// <summary>
    /// With libfabric 1.17 at the level Delivery, which is the default, the target's side checks, refuses, and reports
    /// nothing. The liar waits forever; other peers are served.
    /// </summary>
    [Theory]
    [InlineData(Fabric.SharedMemoryByAddress)]
    [InlineData(Fabric.SharedMemoryByOffset)]
    public async Task SharedMemoryRefusesInSilenceWhereTheTargetIsAsked(string fabric)
    {
        Lie[] lies = [.. Lie.All.Where(static l => l.Name is "write: one bit of the key" or "read: an exposure that has ended")];
        Assert.Equal(2, lies.Length);
        IReadOnlyDictionary<string, LieEnd> ends = await LyingScene.TellAsync(LyingPeerTests.StarterOf(fabric), lies);
        Assert.All(ends, static e => Assert.Equal((e.Key, LieEnd.Nothing), (e.Key, e.Value)));
    }

    /// <summary>
    /// At the level Transmit, and with virtual addresses, the liar's side copies by process_vm_writev(2) and
    /// process_vm_readv(2), which the system permits between processes of the same user. The target is not asked.
    /// </summary>
    [Fact]
    public async Task SharedMemoryBelievesEachLieOfALiarThatCopiesItself()
    {
        Assert.True(KernelCopies.ArePermitted, "Processes may not copy each other's memory on this machine (alloctools doctor: ptrace); nobody would copy.");
        IReadOnlyDictionary<string, LieEnd> ends = await LyingScene.TellAsync(LyingPeerTests.StarterOf(Fabric.SharedMemoryByAddress, "transmit"), [.. Lie.AboutKeys, .. Lie.AboutBuffers]);
        Assert.All(ends, static e => Assert.Equal((e.Key, LieEnd.Believed), (e.Key, e.Value)));
    }
}
