#!lua name=package_index
--[[
The rules of the package index as functions of Redis. A hash holds the dependency list of each package, as the
text that was given; another how many other packages depend on it, where any do. A function runs alone, so every
message is atomic. Names are not checked; a package that depends on itself does not block its own removal.
]]

local DEPENDENCIES, DEPENDENTS = 'dependencies', 'dependents'

local function names_of(list)
    local names, known = {}, {}
    for name in string.gmatch(list, '[^,]+') do
        if not known[name] then
            known[name] = true
            names[#names + 1] = name
        end
    end
    return names
end

local function count_dependent(package, names, step)
    for _, name in ipairs(names) do
        if name ~= package and redis.call('HINCRBY', DEPENDENTS, name, step) == 0 then
            redis.call('HDEL', DEPENDENTS, name)
        end
    end
end

redis.register_function('index_package', function(keys, arguments)
    local package, list = keys[1], arguments[1]
    local previous = redis.call('HGET', DEPENDENCIES, package)
    if previous == list then
        return redis.status_reply('OK')
    end
    local names = names_of(list)
    if #names > 0 then
        for _, known in ipairs(redis.call('HMGET', DEPENDENCIES, unpack(names))) do
            if not known then
                return redis.status_reply('FAIL')
            end
        end
    end
    if previous then
        count_dependent(package, names_of(previous), -1)
    end
    redis.call('HSET', DEPENDENCIES, package, list)
    count_dependent(package, names, 1)
    return redis.status_reply('OK')
end)

redis.register_function('remove_package', function(keys)
    local package = keys[1]
    local list = redis.call('HGET', DEPENDENCIES, package)
    if not list then
        return redis.status_reply('OK')
    end
    if redis.call('HEXISTS', DEPENDENTS, package) == 1 then
        return redis.status_reply('FAIL')
    end
    redis.call('HDEL', DEPENDENCIES, package)
    count_dependent(package, names_of(list), -1)
    return redis.status_reply('OK')
end)
