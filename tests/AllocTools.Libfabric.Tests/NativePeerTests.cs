using AllocTools.Endpoints;
using AllocTools.Libfabric.Tests.Interop;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>
/// Tests a peer that is a C program on libfabric itself (Interop/native/peer.c), using the forms of docs/wire-forms.md.
/// </summary>
public sealed class NativePeerTests(NativePeerTests.Compiled compiled) : IClassFixture<NativePeerTests.Compiled>
{
    public static TheoryData<string> Fabrics => [.. Fabric.Named is null ? [Fabric.Tcp, Fabric.Sockets, Fabric.PlainTcp] : Fabric.All];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task ItSendsAndWritesAndIsWrittenTo(string fabric)
    {
        await using var pair = new EndpointPair(fabric);
        IRmaEndpoint endpoint = pair.Left.Endpoint;
        await using PeerProcess peer = Start(fabric);
        RmaPeer native = endpoint.InsertPeer(Convert.FromHexString(await peer.AskAsync("address")));
        Assert.Equal("1", await peer.AskAsync($"peer {Convert.ToHexString(endpoint.Address.Span)}"));

        using RmaBuffer received = pair.Left.Pool.Rent(64);
        Task<RmaReceiveResult> receiving = endpoint.ReceiveAsync(received, cancellationToken: Token).AsTask();
        Assert.Equal("ok", await peer.AskAsync("send 48616C6C6F"));
        Assert.Equal(5, (await receiving).Length);
        Assert.Equal("Hallo"u8, received.GetSpan(0, 5));

        using RmaBuffer target = pair.Left.Pool.Rent(64);
        target.Span.Clear();
        using (RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite))
            Assert.Equal("ok", await peer.AskAsync($"write {Convert.ToHexString(exposure.Remote.ToArray())}"));
        // The completion may arrive before the bytes do, but a message that is sent after them arrives after them.
        receiving = endpoint.ReceiveAsync(received, cancellationToken: Token).AsTask();
        Assert.Equal("ok", await peer.AskAsync("send 00"));
        await receiving;
        if (endpoint.Context.Traits.SendAfterWriteOrdered)
            Assert.False(target.Span.ContainsAnyExcept((byte)0xC5));

        RemoteMemory memory = RemoteMemory.Read(Convert.FromHexString(await peer.AskAsync("memory")));
        using RemoteRegion region = endpoint.Import(native, memory);
        using RmaBuffer source = pair.Left.Pool.Rent(64);
        source.Span.Fill(0x5A);
        await endpoint.WriteAsync(source, region, cancellationToken: Token);
        Assert.Equal(string.Concat(Enumerable.Repeat("5A", 64)), await peer.AskAsync("peek"));
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task TheTrailerThatItWritesIsChecked(string fabric)
    {
        await using var pair = new EndpointPair(fabric);
        await using PeerProcess peer = Start(fabric);
        pair.Left.Endpoint.InsertPeer(Convert.FromHexString(await peer.AskAsync("described")));
        byte[] foreign = Convert.FromHexString(await peer.AskAsync("foreign"));
        Assert.Contains("provider 'tcp' (protocol 4711 version 0)", Assert.Throws<RmaProviderException>(() => pair.Left.Endpoint.InsertPeer(foreign)).Message, StringComparison.Ordinal);
    }

    private PeerProcess Start(string fabric)
    {
        LibfabricOptions options = Fabric.Options(fabric);
        return PeerProcess.Run(compiled.Program, options.Provider!, options.Node!);
    }

    /// <summary>The program, compiled against the installed headers once for the class.</summary>
    public sealed class Compiled : IDisposable
    {
        private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("alloctools-peer-");

        public Compiled()
        {
            Program = Path.Combine(_folder.FullName, "peer");
            string source = Path.Combine(Repository.Root, "tests", "AllocTools.Libfabric.Tests", "Interop", "native", "peer.c");
            NativeLayout.Execute("cc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-o", Program, source, "-lfabric");
        }

        public string Program { get; }

        public void Dispose() => _folder.Delete(recursive: true);
    }
}
