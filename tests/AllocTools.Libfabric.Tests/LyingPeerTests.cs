using AllocTools.Interop;
using AllocTools.Testing;
using AllocTools.Testing.Lies;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>A peer that lies about what it was given.</summary>
public sealed class LyingPeerTests(ITestOutputHelper output)
{
    public static TheoryData<string> Fabrics => [.. Fabric.All];

    /// <summary>Those that check each access. The traits of shm say that it does not.</summary>
    public static TheoryData<string> Enforcing => [.. Fabric.All.Where(static f => !IsShared(f))];

    public static TheoryData<string> Shared => [.. Fabric.All.Where(IsShared)];

    public static TheoryData<string> ByAddress => [.. Fabric.All.Where(static f => f == Fabric.SharedMemoryByAddress)];

    [Theory]
    [MemberData(nameof(Enforcing))]
    public async Task NoLieReadsOrChangesAByteButTheOneThatIsDocumented(string fabric)
    {
        IReadOnlyDictionary<string, LieEnd> ends = await LyingScene.TellAsync(StarterOf(fabric), Lie.All);
        output.WriteLine($"{fabric}: {ends.Count} lies, {ends.Count(static e => e.Value != LieEnd.Nothing)} of them worked");
        // ofi_rxm reads long messages from the sender's memory, so it lets each key read, whatever else that grants.
        string[] documented = fabric.Contains("ofi_rxm", StringComparison.Ordinal) ? [Lie.ReadOfWritten] : [];
        Assert.Equal(Lie.All.Count, ends.Count);
        Assert.DoesNotContain(ends, e => e.Value != LieEnd.Nothing && !documented.Contains(e.Key));
    }

    /// <summary>libfabric 1.17 at the level Delivery, which is the default: the target's side looks, refuses, and says nothing. The liar waits for ever; other peers are served.</summary>
    [Theory]
    [MemberData(nameof(Shared))]
    public async Task SharedMemoryRefusesInSilenceWhereTheTargetIsAsked(string fabric)
    {
        Lie[] lies = [.. Lie.All.Where(static l => l.Name is "write: one bit of the key" or "read: an exposure that has ended")];
        Assert.Equal(2, lies.Length);
        IReadOnlyDictionary<string, LieEnd> ends = await LyingScene.TellAsync(StarterOf(fabric), lies);
        Assert.All(ends, static e => Assert.Equal((e.Key, LieEnd.Nothing), (e.Key, e.Value)));
    }

    /// <summary>At the level Transmit, and with virtual addresses, the liar's side copies by process_vm_writev(2) and process_vm_readv(2), which the system lets any process of the same user do. The target is not asked.</summary>
    [Theory]
    [MemberData(nameof(ByAddress))]
    public async Task SharedMemoryBelievesEachLieOfALiarThatCopiesItself(string fabric)
    {
        Assert.True(KernelCopies.ArePermitted, "Processes may not copy each other's memory on this machine (alloctools doctor: ptrace); nobody would copy.");
        IReadOnlyDictionary<string, LieEnd> ends = await LyingScene.TellAsync(StarterOf(fabric, "transmit"), [.. Lie.AboutKeys, .. Lie.AboutBuffers]);
        Assert.All(ends, static e => Assert.Equal((e.Key, LieEnd.Believed), (e.Key, e.Value)));
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public Task WhatWasGivenBeforeARestartIsOfNoUse(string fabric) => LyingScene.AssertRestartEndsWhatWasGivenAsync(StarterOf(fabric));

    private static bool IsShared(string fabric) => fabric is Fabric.SharedMemoryByAddress or Fabric.SharedMemoryByOffset;

    /// <summary>Each target that it starts has the same address, but on shm, where the address has the number of the process.</summary>
    private static Func<Task<LyingPair>> StarterOf(string fabric, params string[] liarsWords)
    {
        string[] place = IsShared(fabric) ? [] : [$"service={LostPeerTests.FreePort()}"];
        string[] arguments = ["fabric", fabric, "RemoteRead, RemoteWrite", "isolated"];
        return () => Task.FromResult(LyingPair.OfProcesses([.. arguments, .. place], [.. arguments, .. liarsWords], IsShared(fabric) ? TestTime.Seconds(2) : TestTime.Seconds(10)));
    }
}
