using System.Diagnostics;
using AllocTools.Soak;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Stress.Tests;

/// <summary>Tests processes that are not the peers that the soak expects.</summary>
public sealed class SoakPeerLinkTests
{
    /// <summary>These processes read until their standard input ends, at the latest with this process.</summary>
    [Theory]
    [InlineData("echo nonsense; cat > /dev/null", "has said 'nonsense', which is no Hello")]
    [InlineData("echo {}; cat > /dev/null", "has said '{}', which is no Hello")]
    [InlineData("exec 1>&-; read line", "has ended and has not answered")]
    public async Task AProcessThatDoesNotGreetIsEnded(string program, string error)
    {
        await using var station = new Station(Fabric.Tcp, listens: false);
        using var folder = new TemporaryFolder();
        string pid = Path.Combine(folder.Path, "pid");
        var start = new ProcessStartInfo("/bin/sh", ["-c", $"echo $$ > '{pid}'; {program}"]);
        Assert.Contains(error, (await Assert.ThrowsAsync<IOException>(() => PeerLink.StartAsync(start, station, number: 1))).Message, StringComparison.Ordinal);
        Assert.False(Directory.Exists($"/proc/{File.ReadAllText(pid).Trim()}"), "The process is still there.");
    }

    /// <summary>
    /// Everything that was created for the peer before is released: the peer, its memory and what was rented for it.
    /// </summary>
    [Fact]
    public async Task NothingIsLeftOfAPeerWhoseMemoryCantBeUsed()
    {
        await using var station = new Station(Fabric.Tcp, listens: false);
        string hello = $$"""{"Address":"{{Convert.ToBase64String(station.Endpoint.Address.Span)}}","Slots":"AAAA","Readable":"AAAA","Seed":1}""";
        var start = new ProcessStartInfo("/bin/sh", ["-c", $"echo '{hello}'; cat > /dev/null"]);
        await Assert.ThrowsAsync<FormatException>(() => PeerLink.StartAsync(start, station, number: 1));
        Assert.Equal(0, station.Pool.GetStatistics().RentedBuffers);
        Assert.Equal(0, station.Endpoint.GetStatistics().Peers.Values.Sum());
    }
}
