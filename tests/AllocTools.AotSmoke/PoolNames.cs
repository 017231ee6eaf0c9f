namespace AllocTools.AotSmoke;

/// <summary>The names of the pools other than the unnamed one, and of the sections that configure them.</summary>
internal static class PoolNames
{
    public const string UnnamedSection = "AllocTools";
    public const string Peer = "Peer";
    public const string Scratch = "Scratch";
    public const string Ucx = "Ucx";
    public const string Mpi = "Mpi";
    public const string Third = "Third";
    public const string MultiRailSection = "MultiRail";
    public const string BrokenSection = "Broken";
}
