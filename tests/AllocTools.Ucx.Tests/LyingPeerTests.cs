using AllocTools.Testing;
using AllocTools.Testing.Lies;
using Xunit;

namespace AllocTools.Ucx.Tests;

/// <summary>
/// Tests a peer that lies about the memory that it was given. UCX checks nothing over TCP and shared memory; the tests
/// show what that means, and what this library does instead.
/// </summary>
public sealed class LyingPeerTests
{
    public static TheoryData<string> Fabrics => [UcxFabric.Tcp, "posix+self@lo", "sysv+self@lo", UcxFabric.SharedMemory];

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task EachLieAboutTheBuffersIsBelieved(string fabric)
    {
        IReadOnlyDictionary<string, LieEnd> ends = await LyingScene.TellAsync(StarterOf(fabric), Lie.AboutBuffers);
        Assert.All(ends, static e => Assert.Equal((e.Key, LieEnd.Believed), (e.Key, e.Value)));
    }

    /// <summary>The target's own thread reads and writes for the liar, at any address that the liar names.</summary>
    [Fact]
    public async Task EachLieAboutAddressesThatNoProcessHasEndsTheTarget()
    {
        IReadOnlyDictionary<string, LieEnd> ends = await LyingScene.TellAsync(StarterOf(UcxFabric.Tcp), Lie.AboutNoMemory);
        Assert.All(ends, static e => Assert.Equal((e.Key, LieEnd.TargetEnded), (e.Key, e.Value)));
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public Task WhatWasGivenBeforeARestartIsOfNoUse(string fabric) => LyingScene.AssertRestartEndsWhatWasGivenAsync(StarterOf(fabric));

    private static Func<Task<LyingPair>> StarterOf(string fabric)
    {
        string[] arguments = ["ucx", fabric, "RemoteRead, RemoteWrite", "isolated"];
        return () => Task.FromResult(LyingPair.OfProcesses(arguments, arguments, TestTime.Seconds(10)));
    }
}
