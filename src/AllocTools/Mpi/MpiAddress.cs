using System.Buffers.Binary;
using System.Text;

namespace AllocTools.Mpi;

/// <summary>
/// Composes and parses addresses of endpoints: a tag (8 bytes), the number of the job (8), the rank (4), the
/// endpoint's number (4), and a random number of the endpoint (8); little-endian.
/// </summary>
/// <param name="job">The number of the job.</param>
/// <param name="rank">This process's rank.</param>
/// <param name="size">The number of ranks in the job.</param>
/// <param name="highestNumber">The highest number that an endpoint may have.</param>
/// <param name="provider">The provider's name, for errors.</param>
internal sealed class MpiAddress(ulong job, int rank, int size, int highestNumber, string provider)
{
    private const int Length = 32;

    private static ReadOnlySpan<byte> Tag => "RMAMPI01"u8;

    public byte[] Compose(int number)
    {
        byte[] address = new byte[Length];
        Tag.CopyTo(address);
        BinaryPrimitives.WriteUInt64LittleEndian(address.AsSpan(8), job);
        BinaryPrimitives.WriteInt32LittleEndian(address.AsSpan(16), rank);
        BinaryPrimitives.WriteInt32LittleEndian(address.AsSpan(20), number);
        System.Security.Cryptography.RandomNumberGenerator.Fill(address.AsSpan(24));
        return address;
    }

    /// <summary>
    /// Returns the endpoint's random number, which is needed because an endpoint that is opened later may get the same
    /// <see cref="MpiPlace"/>.
    /// </summary>
    public static ulong IdentityOf(ReadOnlySpan<byte> address) => BinaryPrimitives.ReadUInt64LittleEndian(address[24..]);

    /// <exception cref="RmaProviderException">The address belongs to another job, or to another provider.</exception>
    public MpiPlace Parse(ReadOnlySpan<byte> address)
    {
        if (address.Length != Length || !address.StartsWith(Tag))
            throw Unfit(address, $"an address has {Length} bytes before its trailer, and starts with '{Encoding.ASCII.GetString(Tag)}'. Both sides need the same provider; pass the peer endpoint's Address as it is");
        if (BinaryPrimitives.ReadUInt64LittleEndian(address[8..]) != job)
            throw Unfit(address, "it is of another MPI job. Both sides need the same provider, and must be started by one mpirun");
        int peer = BinaryPrimitives.ReadInt32LittleEndian(address[16..]);
        int number = BinaryPrimitives.ReadInt32LittleEndian(address[20..]);
        if (peer < 0 || peer >= size)
            throw Unfit(address, $"it names rank {peer}, and the job has {size}. Both sides need the same provider; pass the peer endpoint's Address as it is");
        if (number < 0 || number > highestNumber)
            throw Unfit(address, $"it names endpoint {number} of its rank, and {highestNumber} is the highest number. Both sides need the same provider; pass the peer endpoint's Address as it is");
        return new MpiPlace(peer, number);
    }

    private RmaProviderException Unfit(ReadOnlySpan<byte> address, string why) =>
        new($"The peer's address of {address.Length} bytes can't be used with provider '{provider}': {why}.");
}
