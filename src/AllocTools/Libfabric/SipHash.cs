using System.Numerics;

namespace AllocTools.Libfabric;

/// <summary>SipHash-2-4 of one 64-bit word: a pseudorandom function under a secret of 128 bits (Aumasson and Bernstein, 2012).</summary>
/// <remarks>.NET's own hashes go through OpenSSL; eight of them, for one key, would take longer than a registration on tcp.</remarks>
internal readonly struct SipHash(ulong key0, ulong key1)
{
    private const int WordRounds = 2;
    private const int LastRounds = 4;

    /// <summary>The last word of a message of eight bytes, which contains only the message's length.</summary>
    private const ulong LengthWord = 8UL << 56;

    /// <summary>Returns the hash of the word's eight bytes, the lowest first.</summary>
    public ulong Hash(ulong word)
    {
        ulong v0 = key0 ^ 0x736f6d6570736575;
        ulong v1 = key1 ^ 0x646f72616e646f6d;
        ulong v2 = key0 ^ 0x6c7967656e657261;
        ulong v3 = key1 ^ 0x7465646279746573;
        Absorb(word, ref v0, ref v1, ref v2, ref v3);
        Absorb(LengthWord, ref v0, ref v1, ref v2, ref v3);
        v2 ^= 0xff;
        for (int i = 0; i < LastRounds; i++)
            Round(ref v0, ref v1, ref v2, ref v3);
        return v0 ^ v1 ^ v2 ^ v3;
    }

    private static void Absorb(ulong word, ref ulong v0, ref ulong v1, ref ulong v2, ref ulong v3)
    {
        v3 ^= word;
        for (int i = 0; i < WordRounds; i++)
            Round(ref v0, ref v1, ref v2, ref v3);
        v0 ^= word;
    }

    private static void Round(ref ulong v0, ref ulong v1, ref ulong v2, ref ulong v3)
    {
        v0 += v1;
        v1 = BitOperations.RotateLeft(v1, 13) ^ v0;
        v0 = BitOperations.RotateLeft(v0, 32);
        v2 += v3;
        v3 = BitOperations.RotateLeft(v3, 16) ^ v2;
        v0 += v3;
        v3 = BitOperations.RotateLeft(v3, 21) ^ v0;
        v2 += v1;
        v1 = BitOperations.RotateLeft(v1, 17) ^ v2;
        v2 = BitOperations.RotateLeft(v2, 32);
    }
}
