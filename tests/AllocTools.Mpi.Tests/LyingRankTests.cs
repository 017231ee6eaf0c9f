using AllocTools.Testing.Lies;
using Xunit;

namespace AllocTools.Mpi.Tests;

/// <summary>
/// Tests a rank that lies about the memory that it was given. MPI has no keys; the tests show what that means, and what
/// this library does instead.
/// </summary>
public sealed class LyingRankTests
{
    public static TheoryData<MpiImplementation> Implementations => MpiRanks.Implementations;

    [Theory]
    [MemberData(nameof(Implementations))]
    public async Task EachLieAboutKeysAndBuffersIsBelieved(MpiImplementation implementation)
    {
        IReadOnlyDictionary<string, LieEnd> ends = await LyingScene.TellAsync(() => StartAsync(implementation), [.. Lie.AboutKeys, .. Lie.AboutBuffers]);
        Assert.All(ends, static e => Assert.Equal((e.Key, LieEnd.Believed), (e.Key, e.Value)));
    }

    /// <summary>
    /// Open MPI compares the address with what is attached, on the liar's side. With MPICH the target's process
    /// accesses the memory, and the job ends with it.
    /// </summary>
    [Theory]
    [InlineData(MpiImplementation.OpenMpi, LieEnd.Nothing)]
    [InlineData(MpiImplementation.Mpich, LieEnd.TargetEnded)]
    public async Task ALieAboutAddressesThatNoProcessHasIsRefusedOrEndsTheJob(MpiImplementation implementation, LieEnd expected)
    {
        IReadOnlyDictionary<string, LieEnd> ends = await LyingScene.TellAsync(() => StartAsync(implementation), Lie.AboutNoMemory);
        Assert.All(ends, e => Assert.Equal((e.Key, expected), (e.Key, e.Value)));
    }

    [Theory]
    [MemberData(nameof(Implementations))]
    public Task WhatWasGivenBeforeARestartIsOfNoUse(MpiImplementation implementation) => LyingScene.AssertRestartEndsWhatWasGivenAsync(() => StartAsync(implementation));

    private static async Task<LyingPair> StartAsync(MpiImplementation implementation)
    {
        MpiRanks ranks = await MpiRanks.StartAsync(implementation, options: ["isolated"]);
        return new LyingPair(line => ranks.AskAsync(1, line), line => ranks.AskAsync(0, line), ranks.DisposeAsync);
    }
}
