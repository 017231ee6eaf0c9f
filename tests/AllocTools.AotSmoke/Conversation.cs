using System.IO.Pipelines;
using System.Net;
using AllocTools.Connections;
using Microsoft.AspNetCore.Connections;
using Microsoft.Extensions.DependencyInjection;

namespace AllocTools.AotSmoke;

/// <summary>A connection of the process to itself.</summary>
internal static class Conversation
{
    private const int Length = 30_000;

    public static async Task CheckAsync(IServiceProvider services)
    {
        var connections = services.GetRequiredKeyedService<RmaConnections>(PoolNames.Scratch);
        await using RmaConnectionListener listener = connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
        ValueTask<ConnectionContext?> accepting = listener.AcceptAsync();
        await using RmaConnection here = await connections.ConnectAsync(listener.EndPoint);
        await using ConnectionContext there = (await accepting)!;
        Expect.Equal(services.GetRequiredService<SmokePools>().Ucx.Context.Traits.ProviderName, here.Provider);
        byte[] sent = new byte[Length];
        new Random(Length).NextBytes(sent);
        Task writing = WriteAsync(here.Output, sent);
        byte[] echo = await ReadAsync(there.Transport.Input);
        await writing;
        writing = WriteAsync(there.Transport.Output, echo);
        byte[] received = await ReadAsync(here.Input);
        Expect.True(sent.AsSpan().SequenceEqual(received), "What a connection brought back is something else.");
        await writing;
    }

    private static async Task WriteAsync(PipeWriter writer, byte[] bytes)
    {
        await writer.WriteAsync(bytes);
        await writer.CompleteAsync();
    }

    private static async Task<byte[]> ReadAsync(PipeReader reader)
    {
        using var bytes = new MemoryStream();
        await reader.CopyToAsync(bytes);
        return bytes.ToArray();
    }
}
