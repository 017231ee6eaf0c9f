using System.Runtime.CompilerServices;
using AllocTools.Endpoints;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>Tests messages that don't fit, and the receive loop of docs/messages.md.</summary>
public sealed class MessageTests
{
    public static TheoryData<string> Fabrics => [.. Fabric.All];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task TheDocumentedLoopSurvivesAMessageThatIsTooLong(string fabric)
    {
        await using var pair = new EndpointPair(fabric);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Token);
        List<long> handled = [];
        TaskCompletionSource enough = new(TaskCreationOptions.RunContinuationsAsynchronously);
        Task loop = Task.Run(() => ReceiveLoop.ReceiveAsync(pair.Right.Pool, pair.Right.Endpoint, 64, Handle, TestContext.Current.TestOutputHelper!.WriteLine, stop.Token), Token);
        using RmaBuffer source = pair.Left.Pool.Rent(100);
        foreach (int length in new[] { 1, 100, 2, 65, 3 })
            await pair.Left.Endpoint.SendAsync(source.Slice(0, length), pair.Left.Peer, cancellationToken: Token);
        await enough.Task.WaitAsync(TestTime.Seconds(30), Token);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => loop);
        Assert.Equal([1, 2, 3], handled);

        void Handle(RmaPeer? sender, ReadOnlySpan<byte> message)
        {
            Assert.True(sender is null || sender == pair.Right.Peer, $"{sender}");
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
