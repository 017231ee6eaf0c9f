using AllocTools.Testing;
using Xunit;

namespace AllocTools.Tests;

/// <summary>Buffers under the operations of sockets.</summary>
public sealed class SocketTests
{
    [Theory]
    [InlineData("buffer")]
    [InlineData("array")]
    public async Task WhatIsReturnedUnderAReceiveFailsTheReceiveAndNothingElse(string what)
    {
        // In a process of its own: an exception on the thread of the sockets would end it.
        await using PeerProcess peer = new("socket", what);
        (int exitCode, string output) = await peer.EndAsync();
        Assert.Contains("log 34:", output, StringComparison.Ordinal);
        Assert.EndsWith("failed with Fault\nthe next owner's bytes are as they were\nthen 5 bytes\n", output, StringComparison.Ordinal);
        Assert.Equal(0, exitCode);
    }
}
