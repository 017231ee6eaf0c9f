using System.Runtime.CompilerServices;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>Messages that don't fit, and the receive loop of docs/messages.md.</summary>
public sealed class MessageTests
{
    public static TheoryData<string> Fabrics => [.. Fabric.All];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    /// <summary>By which protocol a message goes depends on its length; whether it meets its receive, on who comes first.</summary>
    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task AMessageLongerThanItsReceiveFailsThatReceiveAndNothingElse(string fabric)
    {
        await using var pair = new EndpointPair(fabric);
        using RmaBuffer small = pair.Right.Pool.Rent(16);
        using RmaBuffer room = pair.Right.Pool.Rent(64);
        using RmaBuffer source = pair.Left.Pool.Rent(200_000);
        source.Span.Fill(7);
        foreach (int length in new[] { 17, 4_000, 8_192, 200_000 })
        {
            if (length > pair.Left.Pool.Context.Traits.MaxMessageSize)
                continue;
            foreach (bool isPostedFirst in new[] { true, false })
            {
                Task<RmaReceiveResult> receive = null!;
                if (isPostedFirst)
                    receive = pair.Right.Endpoint.ReceiveAsync(small, cancellationToken: Token).AsTask();
                Task send = pair.Left.Endpoint.SendAsync(source.Slice(0, length), pair.Left.Peer, cancellationToken: Token).AsTask();
                if (!isPostedFirst)
                    receive = pair.Right.Endpoint.ReceiveAsync(small, cancellationToken: Token).AsTask();
                RmaMessageTruncatedException error = await Assert.ThrowsAsync<RmaMessageTruncatedException>(() => receive);
                await send;
                Assert.Equal("FI_ETRUNC", error.ErrorName);
                Assert.Equal(RmaOperationKind.Receive, error.Kind);
                Assert.Equal(16, error.Room);
                Assert.Equal(length, error.MessageLength);
                Assert.Contains(pair.Right.Pool.Context.Traits.ProviderName, error.Message, StringComparison.Ordinal);

                // The connection, and what comes after, is as before.
                for (int i = 0; i < 3; i++)
                {
                    Task<RmaReceiveResult> next = pair.Right.Endpoint.ReceiveAsync(room, cancellationToken: Token).AsTask();
                    await pair.Left.Endpoint.SendAsync(source.Slice(0, 40 + i), pair.Left.Peer, cancellationToken: Token);
                    Assert.Equal(40 + i, (await next).Length);
                    Assert.False(room.GetSpan(0, 40 + i).ContainsAnyExcept((byte)7));
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task APostedReceiveReportsTheLengthThatDidNotFit(string fabric)
    {
        await using var pair = new EndpointPair(fabric);
        using RmaBuffer small = pair.Right.Pool.Rent(16);
        using RmaBuffer source = pair.Left.Pool.Rent(100);
        Assert.True(pair.Right.Endpoint.TryPost(RmaOperation.Receive(small, context: 9)));
        await pair.Left.Endpoint.SendAsync(source, pair.Left.Peer, cancellationToken: Token);
        var completions = new RmaCompletion[1];
        while (pair.Right.Endpoint.Poll(completions) == 0)
            await Task.Yield();
        Assert.Equal(new RmaCompletion(9, RmaOperationKind.Receive, 100, 265), completions[0]);
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task AMessageOverTheLimitIsRefusedWhereItIsSent(string fabric)
    {
        await using var pair = new EndpointPair(fabric, o => o.Endpoint.MaxMessageLength = 100);
        using RmaBuffer source = pair.Left.Pool.Rent(101);
        ArgumentException error = await Assert.ThrowsAnyAsync<ArgumentException>(
            async () => await pair.Left.Endpoint.SendAsync(source, pair.Left.Peer, cancellationToken: Token));
        Assert.Contains("A message of 101 bytes is longer than Provider:Endpoint:MaxMessageLength, 100 bytes.", error.Message, StringComparison.Ordinal);
        Assert.Equal("message", error.ParamName);
        Assert.Equal("operation", Assert.ThrowsAny<ArgumentException>(() => pair.Left.Endpoint.TryPost(RmaOperation.Send(source, pair.Left.Peer))).ParamName);

        // A receive may be longer, and so may what RMA moves.
        using RmaBuffer room = pair.Right.Pool.Rent(300);
        Task<RmaReceiveResult> receive = pair.Right.Endpoint.ReceiveAsync(room, cancellationToken: Token).AsTask();
        await pair.Left.Endpoint.SendAsync(source.Slice(0, 100), pair.Left.Peer, cancellationToken: Token);
        Assert.Equal(100, (await receive).Length);
        using RmaExposure exposure = room.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        await pair.Left.Endpoint.WriteAsync(source, remote, cancellationToken: Token);
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task AMessageOverThePeersLimitIsRefusedWhereItIsSent(string fabric)
    {
        int sides = 0;
        await using var pair = new EndpointPair(fabric, o => o.Endpoint.MaxMessageLength = sides++ == 0 ? 1_000 : 100);
        using RmaBuffer source = pair.Left.Pool.Rent(101);
        ArgumentException error = await Assert.ThrowsAnyAsync<ArgumentException>(
            async () => await pair.Left.Endpoint.SendAsync(source, pair.Left.Peer, cancellationToken: Token));
        Assert.Contains("longer than the peer takes, 100 bytes", error.Message, StringComparison.Ordinal);
        using RmaBuffer room = pair.Right.Pool.Rent(100);
        Task<RmaReceiveResult> receive = pair.Right.Endpoint.ReceiveAsync(room, cancellationToken: Token).AsTask();
        await pair.Left.Endpoint.SendAsync(source.Slice(0, 100), pair.Left.Peer, cancellationToken: Token);
        Assert.Equal(100, (await receive).Length);
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task TheDocumentedLoopSurvivesAMessageThatIsTooLong(string fabric)
    {
        await using var pair = new EndpointPair(fabric);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Token);
        List<long> handled = [];
        TaskCompletionSource enough = new(TaskCreationOptions.RunContinuationsAsynchronously);
        Task loop = Task.Run(() => ReceiveLoop.RunAsync(pair.Right.Pool, pair.Right.Endpoint, 64, Handle, TestContext.Current.TestOutputHelper!.WriteLine, stop.Token), Token);
        using RmaBuffer source = pair.Left.Pool.Rent(100);
        foreach (int length in new[] { 1, 100, 2, 65, 3 })
            await pair.Left.Endpoint.SendAsync(source.Slice(0, length), pair.Left.Peer, cancellationToken: Token);
        await enough.Task.WaitAsync(TestTime.Seconds(30), Token);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => loop);
        Assert.Equal([1, 2, 3], handled);

        void Handle(ReadOnlySpan<byte> message)
        {
            handled.Add(message.Length);
            if (handled.Count == 3)
                enough.SetResult();
        }
    }

    [Fact]
    public void TheDocumentedLoopIsTheOneThatIsTested()
    {
        string[] documented = Lines(File.ReadAllText(Path.Combine(Repository.Root, "docs", "messages.md")).Split("```csharp\n")[1].Split("```")[0]);
        string[] tested = Lines(File.ReadAllText(PathOfLoop()));
        Assert.NotEmpty(documented);
        Assert.Contains(Enumerable.Range(0, tested.Length), at => tested.Skip(at).Take(documented.Length).SequenceEqual(documented));
    }

    private static string[] Lines(string text) => text.Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);

    private static string PathOfLoop([CallerFilePath] string here = "") =>
        Path.Combine(Repository.Root, "tests", "AllocTools.Libfabric.Tests", nameof(ReceiveLoop) + Path.GetExtension(here));
}
