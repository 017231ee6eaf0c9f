namespace AllocTools.Scale;

/// <summary>Work that a machine does repeatedly, among N of something.</summary>
internal interface IScene : IDisposable
{
    /// <summary>Prepares a round. This is not measured.</summary>
    void Prepare()
    {
    }

    /// <summary>Runs a round.</summary>
    /// <returns>The number of operations in it.</returns>
    int Run();
}

/// <summary>A scene that is measured.</summary>
internal interface INamedScene : IScene
{
    /// <summary>Gets the name of the operation.</summary>
    static abstract string Name { get; }

    /// <summary>Gets the name of the things of which there are N.</summary>
    static abstract string Among { get; }

    /// <summary>Gets the largest N that an option or a machine allows.</summary>
    static virtual int Most => int.MaxValue;

    static abstract IScene Open(Machine machine);
}
