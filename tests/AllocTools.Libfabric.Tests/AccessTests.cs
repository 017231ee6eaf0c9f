using AllocTools.Endpoints;
using AllocTools.Libfabric.Interop;
using AllocTools.Testing;
using AllocTools.Testing.TwoProcesses;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>Tests a peer that exceeds its rights on each fabric: what it changes, and what it sees.</summary>
public sealed class AccessTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    /// <summary>
    /// Gets what the initiator sees, by the meaning of a completion. With Delivery, each fabric fails the write. With
    /// the provider's own level, tcp;ofi_rxm and net report success, though no byte has changed. Observed with
    /// libfabric 1.17. shm is not included: with virtual addresses it checks nothing.
    /// </summary>
    public static TheoryData<string, LibfabricCompletionLevel, string> Seen
    {
        get
        {
            var rows = new TheoryData<string, LibfabricCompletionLevel, string>();
            foreach (string fabric in Fabric.All)
            {
                if (fabric is Fabric.SharedMemoryByAddress or Fabric.SharedMemoryByOffset)
                    continue;
                bool isTcp = fabric is Fabric.Tcp or Fabric.PlainTcp;
                string refused = isTcp ? "FI_ECANCELED" : Fabric.IsVerbs(fabric) ? "FI_EIO" : "FI_EACCES";
                rows.Add(fabric, LibfabricCompletionLevel.Delivery, refused);
                rows.Add(fabric, LibfabricCompletionLevel.Transmit, isTcp ? "OK" : refused);
            }
            return rows;
        }
    }

    [Theory]
    [MemberData(nameof(Seen))]
    public Task AWriteToMemoryThatIsRegisteredForReadingChangesNoByte(string fabric, LibfabricCompletionLevel level, string seen) =>
        ForbiddenWriteAsync(fabric, level, seen, RmaAccess.RemoteRead, granted => new RemoteMemory(granted.Address, granted.Length, granted.Key, RmaAccess.RemoteWrite));

    [Theory]
    [MemberData(nameof(Seen))]
    public Task AWriteWithAnUnknownKeyChangesNoByte(string fabric, LibfabricCompletionLevel level, string seen) =>
        ForbiddenWriteAsync(fabric, level, seen, RmaAccess.RemoteWrite, granted => new RemoteMemory(granted.Address, granted.Length, granted.Key ^ 0x55, RmaAccess.RemoteWrite));

    [Theory]
    [MemberData(nameof(Seen))]
    public Task AWriteBeyondTheRegistrationChangesNoByte(string fabric, LibfabricCompletionLevel level, string seen) =>
        ForbiddenWriteAsync(fabric, level, seen, RmaAccess.RemoteWrite, granted => new RemoteMemory(granted.Address + (1UL << 30), granted.Length, granted.Key, RmaAccess.RemoteWrite));

    [Fact]
    public async Task WhatTheMemoryIsNotExposedForIsRefusedHere()
    {
        await using LocalSide side = await FabricProcesses.StartAsync(Fabric.Tcp, RmaAccess.RemoteRead);
        await side.Process.AskAsync("rent 4096 0");
        using RemoteRegion remote = side.Endpoint.Import(side.Peer, await side.ExposedAsync(0, 0, 4096, RmaAccess.RemoteRead));
        using RmaBuffer source = side.Pool.Rent(4096);
        InvalidOperationException error = Assert.Throws<InvalidOperationException>(() => { _ = side.Endpoint.WriteAsync(source, remote, cancellationToken: Token).AsTask(); });
        Assert.Contains("RemoteRead", error.Message, StringComparison.Ordinal);
    }

    /// <summary>
    /// 1.17 checks nothing with virtual addresses; 2.6 and later complete what they refuse, and check no key on the
    /// fast path.
    /// </summary>
    [Theory]
    [InlineData("1.14")]
    [InlineData("1.17")]
    [InlineData("2.6")]
    [InlineData("2.7")]
    [InlineData("2.99")]
    public void NoVersionOfSharedMemoryPromisesToRefuse(string version)
    {
        foreach (string fabric in new[] { Fabric.SharedMemoryByAddress, Fabric.SharedMemoryByOffset })
        {
            using InfoHandle info = LibfabricDiscovery.Find(LibfabricLibrary.Default!, Fabric.Options(fabric));
            Assert.False(LibfabricTraits.Of(info, Version.Parse(version)).RemoteAccessEnforced);
        }
    }

    private static Version LibraryVersion => Interop.Installed.Library.Version;

    private static async Task ForbiddenWriteAsync(
        string fabric, LibfabricCompletionLevel level, string seen, RmaAccess granted, Func<RemoteMemory, RemoteMemory> forge)
    {
        await using LocalSide side = await FabricProcesses.StartAsync(fabric, granted, o =>
        {
            o.Endpoint.OperationTimeout = TestTime.Seconds(5);
            o.Endpoint.CompletionLevel = level;
        });
        await side.Process.AskAsync("rent 65536 5");
        string before = await side.Process.AskAsync("hash 0");
        using RemoteRegion remote = side.Endpoint.Import(side.Peer, forge(await side.ExposedAsync(0, 0, 65536, granted)));
        using RmaBuffer source = side.Pool.Rent(65536);
        source.Span.Fill(6);
        Exception? error = await Record.ExceptionAsync(() => side.Endpoint.WriteAsync(source, remote, cancellationToken: Token).AsTask());
        Assert.Equal(before, await side.Process.AskAsync("hash 0"));
        if (LibraryVersion.Major == 1)
            Assert.Equal(seen, error is null ? "OK" : Assert.IsAssignableFrom<RmaOperationException>(error).ErrorName);
        else if (level == LibfabricCompletionLevel.Delivery)
            Assert.IsAssignableFrom<RmaOperationException>(error);
    }
}
