using AllocTools.Testing;
using AllocTools.Testing.Lies;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>Tests a peer that lies about the memory that it was given.</summary>
public sealed class LyingPeerTests(ITestOutputHelper output)
{
    public static TheoryData<string> Fabrics => [.. Fabric.All];

    /// <summary>Gets the fabrics that check each access. The traits of shm say that it does not.</summary>
    public static TheoryData<string> Enforcing => [.. Fabric.All.Where(static f => !IsShared(f))];

    [Theory]
    [MemberData(nameof(Enforcing))]
    public async Task NoLieReadsOrChangesAByteButTheOneThatIsDocumented(string fabric)
    {
        IReadOnlyDictionary<string, LieEnd> ends = await LyingScene.TellAsync(StarterOf(fabric), Lie.All);
        output.WriteLine($"{fabric}: {ends.Count} lies, {ends.Count(static e => e.Value != LieEnd.Nothing)} of them worked");
        // ofi_rxm reads long messages from the sender's memory, so it allows each key to read, whatever else it grants.
        string[] documented = fabric.Contains("ofi_rxm", StringComparison.Ordinal) ? [Lie.ReadOfWritten] : [];
        Assert.Equal(Lie.All.Count, ends.Count);
        Assert.DoesNotContain(ends, e => e.Value != LieEnd.Nothing && !documented.Contains(e.Key));
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public Task WhatWasGivenBeforeARestartIsOfNoUse(string fabric) => LyingScene.AssertRestartEndsWhatWasGivenAsync(StarterOf(fabric));

    internal static bool IsShared(string fabric) => fabric is Fabric.SharedMemoryByAddress or Fabric.SharedMemoryByOffset;

    /// <summary>
    /// Returns a function that starts targets at the same address each time, except on shm, where the address contains
    /// the process number.
    /// </summary>
    internal static Func<Task<LyingPair>> StarterOf(string fabric, params string[] liarsWords)
    {
        string[] place = IsShared(fabric) ? [] : [$"service={LostPeerTests.FreePort()}"];
        string[] arguments = ["fabric", fabric, "RemoteRead, RemoteWrite", "isolated"];
        return () => Task.FromResult(LyingPair.OfProcesses([.. arguments, .. place], [.. arguments, .. liarsWords], IsShared(fabric) ? TestTime.Seconds(2) : TestTime.Seconds(10)));
    }
}
