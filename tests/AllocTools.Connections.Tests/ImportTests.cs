using AllocTools.Connections.Tests.Support;
using AllocTools.Endpoints;

namespace AllocTools.Connections.Tests;

/// <summary>Tests memory that a peer has described over a connection.</summary>
public sealed class ImportTests
{
    [Fact]
    public async Task RegionsThatTheirUserHasDisposedAreNotKept()
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(ConnectionSide.Host);
        using RmaBuffer theirs = pair.RightSide.Pool.Rent(100);
        using RmaExposure exposure = theirs.Expose(RmaAccess.RemoteWrite);
        for (int i = 0; i < 1000; i++)
            pair.Left.Import(exposure.Remote).Dispose();
        Assert.InRange(pair.Left.ImportedCount, 1, 16);
    }

    public static TheoryData<string> Fabrics => ConnectionSide.InOneProcess;

    [Theory, MemberData(nameof(Fabrics))]
    public async Task MemoryOfThePeerCanBeWrittenAsLongAsTheConnectionLasts(string fabric)
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(fabric);
        using RmaBuffer theirs = pair.RightSide.Pool.Rent(100);
        using RmaExposure exposure = theirs.Expose(RmaAccess.RemoteWrite);
        await pair.Right.Output.WriteAsync(exposure.Remote.ToArray(), TestContext.Current.CancellationToken);
        var memory = RemoteMemory.Read(await pair.Left.Input.ReadBytesAsync(exposure.Remote.EncodedLength));
        RemoteRegion region = pair.Left.Import(memory);
        using RmaBuffer ours = pair.LeftSide.Pool.Rent(100);
        ours.Span.Fill(7);
        await pair.LeftSide.Connections.Endpoint.WriteAsync(ours, region, cancellationToken: TestContext.Current.CancellationToken);
        await pair.Left.Output.WriteAsync(new byte[1], TestContext.Current.CancellationToken);
        await pair.Right.Input.ReadBytesAsync(1);
        Assert.Equal(Enumerable.Repeat((byte)7, 100), theirs.Span.ToArray());
        // Memory of another process, or of another context of this one.
        await using var stranger = new ConnectionSide(fabric);
        using RmaBuffer other = stranger.Pool.Rent(100);
        using RmaExposure foreign = other.Expose(RmaAccess.RemoteWrite);
        Assert.Throws<RmaProviderException>(() => pair.Left.Import(foreign.Remote));
        pair.Right.Abort();
        await Assert.ThrowsAnyAsync<IOException>(() => pair.Left.Input.ReadToEndAsync());
        await Assert.ThrowsAsync<ObjectDisposedException>(async () => await pair.LeftSide.Connections.Endpoint.WriteAsync(ours, region, cancellationToken: TestContext.Current.CancellationToken));
        Assert.Throws<ObjectDisposedException>(() => pair.Left.Import(memory));
    }
}
