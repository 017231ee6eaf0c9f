using AllocTools.Testing;
using Xunit;

namespace AllocTools.Tests;

/// <summary>Tests buffers that are used by socket operations.</summary>
public sealed class SocketTests
{
    [Theory]
    [InlineData("buffer")]
    [InlineData("array")]
    public async Task WhatIsReturnedUnderAReceiveFailsTheReceiveAndNothingElse(string what)
    {
        // Run in a separate process: an exception on the sockets' thread would end it.
        await using PeerProcess peer = new("socket", what);
        (int exitCode, string output) = await peer.EndAsync();
        Assert.Contains("log 34:", output, StringComparison.Ordinal);
        Assert.EndsWith("failed with Fault\nthe next owner's bytes are as they were\nthen 5 bytes\n", output, StringComparison.Ordinal);
        Assert.Equal(0, exitCode);
    }
}
