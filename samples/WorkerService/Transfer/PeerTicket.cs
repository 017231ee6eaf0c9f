using System.Security.Cryptography;
using System.Text;
using AllocTools;
using WorkerService.Protocol;

namespace WorkerService.Transfer;

/// <summary>What a sender needs to reach a receiver: its fabric, its address, and the session that its messages must name.</summary>
/// <remarks>
/// Binary form, printed as base64: tag <c>RMAT</c>, version 1, length of the provider's name (1 byte), the name (ASCII),
/// session (16 bytes), the endpoint's address (the rest, 1 to <see cref="WireFormat.MaxAddressLength"/> bytes).
/// Whoever has it can send to the receiver.
/// </remarks>
internal sealed record PeerTicket(string Provider, Guid Session, ReadOnlyMemory<byte> Address)
{
    private const byte FormatVersion = 1;
    private const int SessionLength = 16;
    private const int HeaderLength = 6;

    private static ReadOnlySpan<byte> Tag => "RMAT"u8;

    /// <summary>A ticket for an endpoint, with a session that nobody can guess.</summary>
    public static PeerTicket For(IRmaEndpoint endpoint) =>
        new(endpoint.Context.Traits.ProviderName, new Guid(RandomNumberGenerator.GetBytes(SessionLength)), endpoint.Address);

    /// <summary>Reads the printed form.</summary>
    /// <exception cref="TransferException">It is none.</exception>
    public static PeerTicket Parse(string text)
    {
        byte[] bytes = new byte[text.Length];
        if (!Convert.TryFromBase64String(text, bytes, out int length))
            throw Invalid();
        ReadOnlySpan<byte> rest = bytes.AsSpan(0, length);
        if (rest.Length < HeaderLength || !rest.StartsWith(Tag) || rest[Tag.Length] != FormatVersion)
            throw Invalid();
        int nameLength = rest[Tag.Length + 1];
        rest = rest[HeaderLength..];
        int addressLength = rest.Length - nameLength - SessionLength;
        if (addressLength is < 1 or > WireFormat.MaxAddressLength)
            throw Invalid();
        return new PeerTicket(
            Encoding.ASCII.GetString(rest[..nameLength]),
            new Guid(rest.Slice(nameLength, SessionLength)),
            rest[(nameLength + SessionLength)..].ToArray());
    }

    /// <summary>The printed form.</summary>
    public override string ToString()
    {
        byte[] name = Encoding.ASCII.GetBytes(Provider);
        return Convert.ToBase64String([.. Tag, FormatVersion, (byte)name.Length, .. name, .. Session.ToByteArray(), .. Address.Span]);
    }

    private static TransferException Invalid() => new("The peer's ticket can't be read; pass what the receiver printed, whole.");
}
