using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;

namespace AllocTools.TestPeer;

/// <summary>Carries packets between two cards, and drops and delays them as lines on its standard input say.</summary>
/// <remarks>
/// A replacement for the kernel's netem, which is not in every kernel: packet(7). Each packet has the header of virtio,
/// which says which parts of its checksum and segmentation are left to the card, and is passed on with it. So packets
/// that are longer than a frame, or have no checksum yet, pass unchanged.
/// </remarks>
internal sealed class PacketRelay(int seed)
{
    private const int SolPacket = 263;
    private const int VnetHeader = 15;
    private const int IgnoreOutgoing = 23;
    private const int MostQueued = 4096;
    private int _dropped;
    private int _passed;
    private double _dropShare;
    private long _delay;

    public int Run(string card, string otherCard)
    {
        using Socket one = Open(card);
        using Socket other = Open(otherCard);
        Carry(one, other, seed);
        Carry(other, one, seed + 1);
        Console.WriteLine("ready");
        while (Console.ReadLine() is { } line)
        {
            switch (line.Split(' '))
            {
                case ["drop", var percent]:
                    Volatile.Write(ref _dropShare, double.Parse(percent, CultureInfo.InvariantCulture) / 100);
                    Console.WriteLine("ok");
                    break;
                case ["delay", var milliseconds]:
                    Volatile.Write(ref _delay, long.Parse(milliseconds, CultureInfo.InvariantCulture) * Stopwatch.Frequency / 1000);
                    Console.WriteLine("ok");
                    break;
                case ["counts"]:
                    Console.WriteLine($"{Volatile.Read(ref _passed)} {Volatile.Read(ref _dropped)}");
                    break;
                default:
                    Console.WriteLine($"unknown: {line}");
                    break;
            }
        }
        return 0;
    }

    private void Carry(Socket from, Socket to, int ownSeed)
    {
        var queue = new BlockingCollection<(long Due, byte[] Packet)>(MostQueued);
        new Thread(() => Receive(from, queue, new Random(ownSeed))) { IsBackground = true }.Start();
        new Thread(() => Send(to, queue)) { IsBackground = true }.Start();
    }

    private void Receive(Socket from, BlockingCollection<(long, byte[])> queue, Random random)
    {
        byte[] buffer = new byte[128 << 10];
        while (TryMove(() => from.Receive(buffer), out int length))
        {
            // Like a switch, it drops packets for which it has no room.
            if (random.NextDouble() >= Volatile.Read(ref _dropShare) && queue.TryAdd((Stopwatch.GetTimestamp() + Volatile.Read(ref _delay), buffer[..length])))
                Interlocked.Increment(ref _passed);
            else
                Interlocked.Increment(ref _dropped);
        }
    }

    private static void Send(Socket to, BlockingCollection<(long Due, byte[] Packet)> queue)
    {
        foreach ((long due, byte[] packet) in queue.GetConsumingEnumerable())
        {
            while (due - Stopwatch.GetTimestamp() is > 0 and var left)
                Thread.Sleep(TimeSpan.FromSeconds((double)left / Stopwatch.Frequency));
            if (!TryMove(() => to.Send(packet), out _))
                return;
        }
    }

    /// <returns>False if the socket was closed because the relay ends.</returns>
    private static bool TryMove(Func<int> move, out int length)
    {
        while (true)
        {
            try
            {
                length = move();
                return true;
            }
            catch (ObjectDisposedException)
            {
                length = 0;
                return false;
            }
            catch (SocketException e) when (e.SocketErrorCode is SocketError.NetworkDown or SocketError.NoBufferSpaceAvailable)
            {
                // The card is down at the moment, or full: the packet is lost.
            }
        }
    }

    private static Socket Open(string card)
    {
        // ETH_P_ALL, in network order.
        const int AllProtocols = 0x0300;
        var socket = new Socket(AddressFamily.Packet, SocketType.Raw, (ProtocolType)AllProtocols);
        socket.SetRawSocketOption(SolPacket, VnetHeader, BitConverter.GetBytes(1));
        socket.SetRawSocketOption(SolPacket, IgnoreOutgoing, BitConverter.GetBytes(1));
        socket.Bind(new Card(NetworkInterface.GetAllNetworkInterfaces().Single(i => i.Name == card).GetIPProperties().GetIPv4Properties().Index, AllProtocols));
        return socket;
    }

    /// <summary>A sockaddr_ll: packet(7).</summary>
    private sealed class Card(int index, ushort protocol) : EndPoint
    {
        public override AddressFamily AddressFamily => AddressFamily.Packet;

        public override SocketAddress Serialize()
        {
            var address = new SocketAddress(AddressFamily.Packet, 20);
            Span<byte> bytes = address.Buffer.Span;
            BinaryPrimitives.WriteUInt16LittleEndian(bytes[2..], protocol);
            BinaryPrimitives.WriteInt32LittleEndian(bytes[4..], index);
            return address;
        }
    }
}
