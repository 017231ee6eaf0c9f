using System.Buffers.Binary;
using System.Text;

namespace AllocTools.Connections.Control;

/// <summary>The messages by which a connection is set up. All numbers are little-endian; docs/connections.md has them byte by byte.</summary>
internal static class SetUpMessages
{
    /// <summary>The version of the protocol.</summary>
    public const ushort Version = 1;

    /// <summary>"RMAC".</summary>
    private const uint Magic = 0x43414D52;

    /// <summary>The most transports that a side may offer.</summary>
    private const int MostTransports = 4;

    /// <summary>The longest reason of a refusal, in bytes.</summary>
    private const int MostReason = 512;

    public static byte[] Hello(Guid process, IReadOnlyList<(string Name, ReadOnlyMemory<byte> Address)> transports)
    {
        var message = new Writer();
        message.Begin(process);
        message.Byte((byte)transports.Count);
        foreach ((string name, ReadOnlyMemory<byte> address) in transports)
        {
            message.Bytes(Encoding.UTF8.GetBytes(name));
            message.Bytes(address.Span);
        }
        return message.Frame(ControlKind.Hello);
    }

    public static byte[] Welcome(Guid process, string transport, ReadOnlySpan<byte> address, int number, RemoteMemory block)
    {
        var message = new Writer();
        message.Begin(process);
        message.Bytes(Encoding.UTF8.GetBytes(transport));
        message.Bytes(address);
        message.Number(number);
        message.Rest(block.ToArray());
        return message.Frame(ControlKind.Welcome);
    }

    public static byte[] Block(int number, RemoteMemory block)
    {
        var message = new Writer();
        message.Number(number);
        message.Rest(block.ToArray());
        return message.Frame(ControlKind.Block);
    }

    public static byte[] Refused(string reason)
    {
        byte[] text = Encoding.UTF8.GetBytes(reason);
        return ControlConnection.Frame(ControlKind.Refused, text.AsSpan(0, Math.Min(text.Length, MostReason)));
    }

    public static (Guid Process, List<(string Name, byte[] Address)> Transports) ReadHello(ReadOnlySpan<byte> payload)
    {
        var message = new Reader(payload, "Hello");
        Guid process = message.Begin();
        int count = message.Byte();
        if (count is 0 or > MostTransports)
            throw message.Wrong($"offers {count} transports; it must offer 1 to {MostTransports}");
        List<(string, byte[])> transports = [];
        for (int i = 0; i < count; i++)
            transports.Add((Encoding.UTF8.GetString(message.Bytes()), message.Bytes().ToArray()));
        message.End();
        return (process, transports);
    }

    public static (Guid Process, string Transport, byte[] Address, int Number, RemoteMemory Block) ReadWelcome(ReadOnlySpan<byte> payload)
    {
        var message = new Reader(payload, "Welcome");
        Guid process = message.Begin();
        string transport = Encoding.UTF8.GetString(message.Bytes());
        byte[] address = message.Bytes().ToArray();
        (int number, RemoteMemory block) = message.Block();
        return (process, transport, address, number, block);
    }

    public static (int Number, RemoteMemory Block) ReadBlock(ReadOnlySpan<byte> payload) => new Reader(payload, "Block").Block();

    /// <summary>A ring that is offered; null for the first one.</summary>
    public static RemoteMemory? ReadOffer(ReadOnlySpan<byte> payload) => payload.IsEmpty ? null : new Reader(payload, "Offer").Memory();

    /// <summary>The reason of a refusal; it is the peer's text, so only printable characters of it.</summary>
    public static string ReadRefusal(ReadOnlySpan<byte> payload)
    {
        string text = Encoding.UTF8.GetString(payload[..Math.Min(payload.Length, MostReason)]);
        return new string([.. text.Where(static c => !char.IsControl(c) && !char.IsSurrogate(c))]);
    }

    private sealed class Writer
    {
        private readonly List<byte> _bytes = [];

        public void Begin(Guid process)
        {
            Number(unchecked((int)Magic));
            _bytes.AddRange([(byte)Version, (byte)(Version >> 8)]);
            _bytes.AddRange(process.ToByteArray());
        }

        public void Byte(byte value) => _bytes.Add(value);

        public void Number(int value)
        {
            Span<byte> bytes = stackalloc byte[sizeof(int)];
            BinaryPrimitives.WriteInt32LittleEndian(bytes, value);
            _bytes.AddRange(bytes);
        }

        public void Bytes(ReadOnlySpan<byte> value)
        {
            _bytes.AddRange([(byte)value.Length, (byte)(value.Length >> 8)]);
            _bytes.AddRange(value);
        }

        public void Rest(ReadOnlySpan<byte> value) => _bytes.AddRange(value);

        public byte[] Frame(ControlKind kind) => ControlConnection.Frame(kind, _bytes.ToArray());
    }

    private ref struct Reader(ReadOnlySpan<byte> rest, string name)
    {
        private ReadOnlySpan<byte> _rest = rest;
        private readonly string _name = name;

        public Guid Begin()
        {
            uint magic = BinaryPrimitives.ReadUInt32LittleEndian(Take(sizeof(uint)));
            if (magic != Magic)
                throw Wrong("does not begin as one of AllocTools does");
            ushort version = BinaryPrimitives.ReadUInt16LittleEndian(Take(sizeof(ushort)));
            if (version != Version)
                throw Wrong($"is of version {version} of the protocol, and this side speaks version {Version}. Both sides need the same version of AllocTools.Connections");
            return new Guid(Take(16));
        }

        public byte Byte() => Take(1)[0];

        public ReadOnlySpan<byte> Bytes() => Take(BinaryPrimitives.ReadUInt16LittleEndian(Take(sizeof(ushort))));

        public (int Number, RemoteMemory Block) Block()
        {
            int number = BinaryPrimitives.ReadInt32LittleEndian(Take(sizeof(int)));
            if (number is < 0 or > Rings.Notice.MostConnections)
                throw Wrong($"has the number {number}, which is none of a connection");
            return (number, Memory());
        }

        public RemoteMemory Memory()
        {
            if (!RemoteMemory.TryRead(_rest, out RemoteMemory block, out int consumed, out string? error))
                throw Wrong($"describes no memory: {error}");
            Take(consumed);
            if (block.Length is < Rings.RingBlock.Least or > 1 << 30 || (block.Access & RmaAccess.RemoteWrite) == 0)
                throw Wrong($"describes {block.Length} bytes for {block.Access}, which is none of a connection");
            End();
            return block;
        }

        public readonly void End()
        {
            if (!_rest.IsEmpty)
                throw Wrong($"has {_rest.Length} bytes too many");
        }

        public readonly RmaConnectionException Wrong(string what) => new($"The peer's message '{_name}' {what}.");

        private ReadOnlySpan<byte> Take(int length)
        {
            if (length > _rest.Length)
                throw Wrong("ends too early");
            ReadOnlySpan<byte> taken = _rest[..length];
            _rest = _rest[length..];
            return taken;
        }
    }
}
