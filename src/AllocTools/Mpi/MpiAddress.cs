using System.Buffers.Binary;
using System.Text;

namespace AllocTools.Mpi;

/// <summary>Addresses of endpoints: a tag (8 bytes), the number of the job (8), the rank (4), the endpoint's number (4), and a random number of the endpoint (8); little-endian.</summary>
internal sealed class MpiAddress(MpiJob job, string provider)
{
    private const int Length = 32;

    private static ReadOnlySpan<byte> Tag => "RMAMPI01"u8;

    public byte[] Compose(int number)
    {
        byte[] address = new byte[Length];
        Tag.CopyTo(address);
        BinaryPrimitives.WriteUInt64LittleEndian(address.AsSpan(8), job.Number);
        BinaryPrimitives.WriteInt32LittleEndian(address.AsSpan(16), job.Rank);
        BinaryPrimitives.WriteInt32LittleEndian(address.AsSpan(20), number);
        System.Security.Cryptography.RandomNumberGenerator.Fill(address.AsSpan(24));
        return address;
    }

    /// <summary>The endpoint's random number: an endpoint that is opened later may get the same <see cref="MpiPlace"/>.</summary>
    public static ulong IdentityOf(ReadOnlySpan<byte> address) => BinaryPrimitives.ReadUInt64LittleEndian(address[24..]);

    /// <exception cref="RmaProviderException">The address belongs to another job, or to another provider.</exception>
    public MpiPlace Parse(ReadOnlySpan<byte> address)
    {
        if (address.Length != Length || !address.StartsWith(Tag))
            throw Unfit(address, $"an address has {Length} bytes before its trailer, and starts with '{Encoding.ASCII.GetString(Tag)}'. Both sides need the same provider; pass the peer endpoint's Address as it is");
        if (BinaryPrimitives.ReadUInt64LittleEndian(address[8..]) != job.Number)
            throw Unfit(address, "it is of another MPI job. Both sides need the same provider, and must be started by one mpirun");
        int rank = BinaryPrimitives.ReadInt32LittleEndian(address[16..]);
        int number = BinaryPrimitives.ReadInt32LittleEndian(address[20..]);
        if (rank < 0 || rank >= job.Size)
            throw Unfit(address, $"it names rank {rank}, and the job has {job.Size}. Both sides need the same provider; pass the peer endpoint's Address as it is");
        if (number < 0 || number > job.Router.HighestNumber)
            throw Unfit(address, $"it names endpoint {number} of its rank, and {job.Router.HighestNumber} is the highest number. Both sides need the same provider; pass the peer endpoint's Address as it is");
        return new MpiPlace(rank, number);
    }

    private RmaProviderException Unfit(ReadOnlySpan<byte> address, string why) =>
        new($"The peer's address of {address.Length} bytes can't be used with provider '{provider}': {why}.");
}
