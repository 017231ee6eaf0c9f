namespace AllocTools.Libfabric.Interop;

/// <summary>How libfabric packs a version: major in the high, minor in the low 16 bits. fi_version(3).</summary>
internal static class FiVersion
{
    /// <summary>
    /// The API this binding is written for. Newer libraries then don't touch the fields they have appended since.
    /// </summary>
    public const uint Api = (1 << 16) | 14;

    public static Version Unpack(uint version) => new((int)(version >> 16), (int)(version & 0xFFFF));
}
