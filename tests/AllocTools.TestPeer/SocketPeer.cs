using System.Net;
using System.Net.Sockets;
using AllocTools.Collections;
using AllocTools.HostMemory;
using AllocTools.Regions;
using Microsoft.Extensions.Logging;

namespace AllocTools.TestPeer;

/// <summary>
/// Returns a buffer, or an array, during a socket's receive, and prints the result of the receive and the next owner's
/// bytes.
/// </summary>
internal static class SocketPeer
{
    public static async Task<int> RunAsync(string what)
    {
        using var logging = new LoggerFactory([new LineLoggerProvider()]);
        using IRmaContext context = new HostProvider(new HostProviderOptions { Locking = PageLocking.None }).Open();
        using var pool = new RmaMemoryPool<HostProvider>(context, new RmaMemoryPoolOptions(), loggerFactory: logging);
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen();
        using var there = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await there.ConnectAsync(listener.LocalEndPoint!);
        using Socket here = await listener.AcceptAsync();
        (IDisposable owner, Memory<byte> memory) = Rent(pool, what);
        Task<int> receiving = here.ReceiveAsync(memory).AsTask();
        owner.Dispose();
        using RmaBuffer next = pool.Rent(4096);
        next.Span.Clear();
        await there.SendAsync("stray"u8.ToArray());
        try
        {
            Console.WriteLine($"received {await receiving}");
        }
        catch (SocketException e)
        {
            Console.WriteLine($"failed with {e.SocketErrorCode}");
        }
        Console.WriteLine(next.Span.ContainsAnyExcept((byte)0) ? "the next owner's bytes changed" : "the next owner's bytes are as they were");
        // The socket still works, and delivers what was sent before.
        Memory<byte> own = new byte[16];
        Console.WriteLine($"then {await here.ReceiveAsync(own)} bytes");
        return 0;
    }

    private static (IDisposable, Memory<byte>) Rent(RmaMemoryPool<HostProvider> pool, string what)
    {
        if (what == "array")
        {
            RmaArray<byte> array = pool.RentArray<byte>(4096);
            return (array, array.Memory);
        }
        RmaBuffer buffer = pool.Rent(4096);
        return (buffer, buffer.Memory);
    }
}
