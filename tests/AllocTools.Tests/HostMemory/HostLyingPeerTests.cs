using AllocTools.Testing;
using AllocTools.Testing.Lies;
using Xunit;

namespace AllocTools.Tests.HostMemory;

/// <summary>Tests a part of the process that lies to another part about the memory it was given.</summary>
public sealed class HostLyingPeerTests
{
    [Fact]
    public async Task NoLieReadsOrChangesAByte()
    {
        IReadOnlyDictionary<string, LieEnd> ends = await LyingScene.TellAsync(StartAsync, Lie.All);
        Assert.Equal(Lie.All.Count, ends.Count);
        Assert.DoesNotContain(ends, static e => e.Value != LieEnd.Nothing);
    }

    [Fact]
    public Task WhatWasGivenBeforeARestartIsOfNoUse() => LyingScene.AssertRestartEndsWhatWasGivenAsync(StartAsync);

    private static Task<LyingPair> StartAsync()
    {
        PeerProcess process = new("inside");
        return Task.FromResult(new LyingPair(line => process.AskAsync($"0 {line}"), line => process.AskAsync($"1 {line}"), process.DisposeAsync));
    }
}
