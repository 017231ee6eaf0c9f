using System.Buffers.Binary;
using System.Text;
using AllocTools.Endpoints;

namespace AllocTools.Connections.Control;

/// <summary>
/// The messages by which a connection is set up. All numbers are little-endian; docs/connections.md describes them byte
/// by byte.
/// </summary>
internal static class SetUpMessages
{
    /// <summary>The version of the protocol.</summary>
    public const ushort Version = 2;

    /// <summary>"RMAC".</summary>
    private const uint Magic = 0x43414D52;

    /// <summary>The most transports that a side may offer.</summary>
    private const int MostTransports = 4;

    private const int DamagedLength = 4 * sizeof(long);

    /// <summary>The longest reason for a refusal, in bytes.</summary>
    private const int MostReason = 512;

    public static byte[] Hello(ProcessTerms terms, IReadOnlyList<(string Name, ReadOnlyMemory<byte> Address)> transports)
    {
        var message = new Writer();
        message.Begin(terms);
        message.Byte((byte)transports.Count);
        foreach ((string name, ReadOnlyMemory<byte> address) in transports)
        {
            message.Bytes(Encoding.UTF8.GetBytes(name));
            message.Bytes(address.Span);
        }
        return message.Frame(ControlKind.Hello);
    }

    public static byte[] Welcome(ProcessTerms terms, string transport, ReadOnlySpan<byte> address, int number, RemoteMemory block)
    {
        var message = new Writer();
        message.Begin(terms);
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

    public static byte[] Damaged(RmaIntegrityException damage)
    {
        byte[] payload = new byte[DamagedLength];
        BinaryPrimitives.WriteInt64LittleEndian(payload, damage.Offset);
        BinaryPrimitives.WriteInt64LittleEndian(payload.AsSpan(8), damage.Length);
        BinaryPrimitives.WriteUInt64LittleEndian(payload.AsSpan(16), damage.Expected);
        BinaryPrimitives.WriteUInt64LittleEndian(payload.AsSpan(24), damage.Found);
        return ControlConnection.Frame(ControlKind.Damaged, payload);
    }

    public static RmaIntegrityException ReadDamaged(ReadOnlySpan<byte> payload)
    {
        if (payload.Length != DamagedLength)
            throw new RmaConnectionException($"The peer's message 'Damaged' has {payload.Length} bytes; it must have {DamagedLength}.");
        (long offset, long length) = (BinaryPrimitives.ReadInt64LittleEndian(payload), BinaryPrimitives.ReadInt64LittleEndian(payload[8..]));
        return new RmaIntegrityException(
            $"{length} bytes at offset {offset} of the stream of this side were damaged", offset, length, BinaryPrimitives.ReadUInt64LittleEndian(payload[16..]), BinaryPrimitives.ReadUInt64LittleEndian(payload[24..]));
    }

    public static (ProcessTerms Terms, List<(string Name, byte[] Address)> Transports) ReadHello(ReadOnlySpan<byte> payload)
    {
        var message = new Reader(payload, "Hello");
        ProcessTerms terms = message.Begin();
        int count = message.Byte();
        if (count is 0 or > MostTransports)
            throw message.Wrong($"offers {count} transports; it must offer between 1 and {MostTransports}");
        List<(string, byte[])> transports = [];
        for (int i = 0; i < count; i++)
            transports.Add((Encoding.UTF8.GetString(message.Bytes()), message.Bytes().ToArray()));
        message.End();
        return (terms, transports);
    }

    public static (ProcessTerms Terms, string Transport, byte[] Address, int Number, RemoteMemory Block) ReadWelcome(ReadOnlySpan<byte> payload)
    {
        var message = new Reader(payload, "Welcome");
        ProcessTerms terms = message.Begin();
        string transport = Encoding.UTF8.GetString(message.Bytes());
        byte[] address = message.Bytes().ToArray();
        (int number, RemoteMemory block) = message.Block();
        return (terms, transport, address, number, block);
    }

    public static (int Number, RemoteMemory Block) ReadBlock(ReadOnlySpan<byte> payload) => new Reader(payload, "Block").Block();

    /// <summary>Reads an offered ring; null for the first one.</summary>
    public static RemoteMemory? ReadOffer(ReadOnlySpan<byte> payload) => payload.IsEmpty ? null : new Reader(payload, "Offer").Memory();

    /// <summary>Reads the reason for a refusal. It is the peer's text, so only its printable characters are used.</summary>
    public static string ReadRefusal(ReadOnlySpan<byte> payload)
    {
        string text = Encoding.UTF8.GetString(payload[..Math.Min(payload.Length, MostReason)]);
        return new string([.. text.Where(static c => !char.IsControl(c) && !char.IsSurrogate(c))]);
    }

    private sealed class Writer
    {
        private readonly List<byte> _bytes = [];

        public void Begin(ProcessTerms terms)
        {
            Number(unchecked((int)Magic));
            _bytes.AddRange([(byte)Version, (byte)(Version >> 8)]);
            _bytes.AddRange(terms.Process.ToByteArray());
            _bytes.AddRange(terms.Host.ToByteArray());
            Number(terms.ProcessId);
            Time(terms.HeartbeatInterval);
            Time(terms.PeerTimeout);
            Time(terms.OperationTimeout);
            Byte((byte)((terms.DeliveryComplete ? 1 : 0) | ((int)terms.Integrity << 1)));
        }

        private void Time(TimeSpan time) => Number((int)Math.Min(int.MaxValue, Math.Ceiling(time.TotalMilliseconds)));

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

        public ProcessTerms Begin()
        {
            uint magic = BinaryPrimitives.ReadUInt32LittleEndian(Take(sizeof(uint)));
            if (magic != Magic)
                throw Wrong("does not begin like a message of AllocTools");
            ushort version = BinaryPrimitives.ReadUInt16LittleEndian(Take(sizeof(ushort)));
            if (version != Version)
                throw Wrong($"is of version {version} of the protocol, and this side speaks version {Version}. Both sides need the same version of AllocTools.Connections");
            var terms = new ProcessTerms(new Guid(Take(16)), new Guid(Take(16)), Number(), LimitedTime(), Time(), Time(), false, RmaIntegrity.None);
            byte flags = Byte();
            if (flags >> 1 > (int)RmaIntegrity.XxHash3)
                throw Wrong($"asks for check values of kind {flags >> 1}, which this side does not know");
            return terms with { DeliveryComplete = (flags & 1) != 0, Integrity = (RmaIntegrity)(flags >> 1) };
        }

        public int Number() => BinaryPrimitives.ReadInt32LittleEndian(Take(sizeof(int)));

        /// <summary>Reads a time in milliseconds, which must be limited.</summary>
        private TimeSpan LimitedTime()
        {
            TimeSpan time = Time();
            return time > TimeSpan.Zero ? time : throw Wrong($"has a time of {time.TotalMilliseconds} ms; it must be more than 0");
        }

        /// <summary>Reads a time in milliseconds; -1 means no limit.</summary>
        private TimeSpan Time()
        {
            int time = Number();
            return time is -1 or > 0 ? TimeSpan.FromMilliseconds(time) : throw Wrong($"has a time of {time} ms; it must be more than 0, or -1");
        }

        public byte Byte() => Take(1)[0];

        public ReadOnlySpan<byte> Bytes() => Take(BinaryPrimitives.ReadUInt16LittleEndian(Take(sizeof(ushort))));

        public (int Number, RemoteMemory Block) Block()
        {
            int number = Number();
            if (number is < 0 or > Rings.Notice.MostConnections)
                throw Wrong($"has the connection number {number}, which is not valid");
            return (number, Memory());
        }

        public RemoteMemory Memory()
        {
            if (!RemoteMemory.TryRead(_rest, out RemoteMemory block, out int consumed, out string? error))
                throw Wrong($"does not describe memory: {error}");
            Take(consumed);
            if (block.Length is < Rings.RingBlock.Least or > 1 << 30 || (block.Access & RmaAccess.RemoteWrite) == 0)
                throw Wrong($"describes {block.Length} bytes for {block.Access}, which can't be the memory of a connection");
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
