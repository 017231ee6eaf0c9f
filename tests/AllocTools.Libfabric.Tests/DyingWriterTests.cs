using System.Globalization;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>Tests a process that others write into when one of them dies, or is disconnected, in the middle of a write.</summary>
public sealed class DyingWriterTests
{
    private const int Length = 48 << 20;

    /// <summary>Gets the fabrics on which bytes wait in a socket while the target is stopped.</summary>
    public static TheoryData<string, bool> Cases
    {
        get
        {
            var all = new TheoryData<string, bool>();
            foreach (string fabric in Fabric.All.Where(static f => f is Fabric.Tcp or Fabric.Sockets or Fabric.PlainTcp))
                foreach (bool notifies in (bool[])[false, true])
                    all.Add(fabric, notifies);
            return all;
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task TheTargetOfAWriteThatBreaksOffGoesOnAndServesOthers(string fabric, bool notifies)
    {
        await using var target = new PeerProcess("fabric", fabric, "RemoteWrite");
        string address = await target.AskAsync("address");
        await target.AskAsync($"rent {Length} 0");
        string remote = await target.AskAsync($"expose 0 0 {Length} RemoteWrite");
        string small = await target.AskAsync("expose 0 0 100 RemoteWrite");
        await using (PeerProcess writer = await WriterAsync(target, fabric, address, 1))
        {
            // This makes the transport connect.
            Assert.Equal("ok", await writer.AskAsync($"write 0 {small}"));
            await target.SuspendAsync();
            await writer.TellAsync(Command(remote, notifies));
            // The system holds a part of the write and accepts no more: the target will find the beginning of a write,
            // and nothing after it.
            using var limit = new CancellationTokenSource(TestTime.Seconds(20));
            while (WaitingBytes(writer.Id) == 0)
                await Task.Delay(10, limit.Token);
            await writer.KillAsync();
            target.Resume();
        }
        await using PeerProcess last = await WriterAsync(target, fabric, address, 9);
        Assert.Equal("ok", await last.AskAsync(Command(remote, notifies)));
        Assert.Equal("0909", await target.AskAsync("peek 0 0 1") + await target.AskAsync($"peek 0 {Length - 1} 1"));
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public Task AnEndpointIsClosedInTheMidstOfAPeersWrite(string fabric, bool notifies) => DoesInTheMidstAsync(fabric, notifies, "close");

    [Theory]
    [MemberData(nameof(Cases))]
    public Task APeerIsRemovedInTheMidstOfItsWrite(string fabric, bool notifies) => DoesInTheMidstAsync(fabric, notifies, "remove");

    private static async Task DoesInTheMidstAsync(string fabric, bool notifies, string what)
    {
        await using var target = new PeerProcess("fabric", fabric, "RemoteWrite");
        string address = await target.AskAsync("address");
        await target.AskAsync($"rent {Length} 0");
        string remote = await target.AskAsync($"expose 0 0 {Length} RemoteWrite"), small = await target.AskAsync("expose 0 0 100 RemoteWrite");
        await using PeerProcess writer = await WriterAsync(target, fabric, address, 1);
        Assert.Equal("ok", await writer.AskAsync($"write 0 {small}"));
        await target.SuspendAsync();
        await writer.TellAsync(Command(remote, notifies));
        using var limit = new CancellationTokenSource(TestTime.Seconds(20));
        while (WaitingBytes(writer.Id) == 0)
            await Task.Delay(10, limit.Token);
        await writer.SuspendAsync();
        target.Resume();
        // The target has read everything that is there, and waits for the rest.
        while (WaitingBytes(writer.Id) > 0)
            await Task.Delay(10, limit.Token);
        Assert.Equal("ok", await target.AskAsync(what));
        Assert.Equal("00", await target.AskAsync($"peek 0 {Length - 1} 1"));
        writer.Resume();
    }

    private static string Command(string remote, bool notifies) => notifies ? $"notify 0 {remote} 5" : $"write 0 {remote}";

    private static async Task<PeerProcess> WriterAsync(PeerProcess target, string fabric, string address, int fill)
    {
        var writer = new PeerProcess("fabric", fabric, "RemoteWrite");
        await writer.AskAsync($"peer {address}");
        await writer.AskAsync($"rent {Length} {fill}");
        Assert.Equal("ok", await target.AskAsync($"peer {await writer.AskAsync("address")}"));
        return writer;
    }

    /// <summary>Returns the bytes in the send queues of a process's TCP sockets: proc(5), /proc/net/tcp.</summary>
    private static long WaitingBytes(int process)
    {
        HashSet<string> sockets = [.. Directory.EnumerateFiles($"/proc/{process}/fd").Select(static f => new FileInfo(f).LinkTarget).Where(static t => t?.StartsWith("socket:[", StringComparison.Ordinal) == true).Select(static t => t![8..^1])];
        return File.ReadLines("/proc/net/tcp").Skip(1).Select(static l => l.Split(' ', StringSplitOptions.RemoveEmptyEntries)).Where(f => sockets.Contains(f[9]))
            .Sum(static f => long.Parse(f[4].Split(':')[0], NumberStyles.HexNumber, CultureInfo.InvariantCulture));
    }
}
